//! Forms of text that JSON has no type for.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// An address or a network.
pub struct NetForm;

/// Any text that is not empty.
pub struct TextForm;

impl JsonSchema for TextForm {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": 1000})
    }
}

impl JsonSchema for NetForm {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An IPv4 or IPv6 address, or a network: 203.0.113.0/24",
            "type": "string",
            "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}, {"pattern": V4_NET}, {"pattern": V6_NET}],
        })
    }
}

/// A network of IPv4, and one of IPv6 in its short form; the daemon takes every form of the latter.
const V4_NET: &str = r"^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])/(3[0-2]|[12]?[0-9])$";
const V6_NET: &str = r"^([0-9a-f]{1,4}:){1,7}:/(12[0-8]|1[01][0-9]|[1-9]?[0-9])$";
