//! Forms of text and numbers that Rust's types do not tell.

use std::borrow::Cow;

use slips_core::evidence::EvidenceKind;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! form {
    ($(#[$about:meta])* $name:ident, $schema:expr) => {
        $(#[$about])*
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

form!(
    /// An address.
    IpForm,
    json_schema!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})
);
form!(
    /// An address or a network.
    NetForm,
    json_schema!({
        "type": "string",
        "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}, {"pattern": V4_NET}, {"pattern": V6_NET}],
    })
);
form!(
    /// Any text that is not empty.
    TextForm,
    json_schema!({"type": "string", "minLength": 1, "maxLength": super::lookups::LONGEST})
);
form!(
    /// A moment.
    MomentForm,
    json_schema!({"type": "string", "format": "date-time"})
);
form!(
    /// Rows of a page.
    LimitForm,
    json_schema!({"type": "integer", "minimum": 1, "maximum": slips_store::read::Page::MOST})
);
form!(
    /// Evidence of a story.
    ToldForm,
    json_schema!({"type": "integer", "minimum": 1, "maximum": super::read::STORY_MOST})
);
form!(
    /// The name of a kind of evidence; in any letter case, which no form can say.
    KindForm,
    {
        let kinds = EvidenceKind::ALL.iter().map(|kind| kind.name());
        json_schema!({"type": "string", "enum": kinds.collect::<Vec<_>>()})
    }
);
form!(
    /// The identity of an alert or of an evidence, or its beginning.
    IdForm,
    json_schema!({"type": "string", "pattern": "^[0-9a-f-]{4,36}$"})
);

/// A network of IPv4, and one of IPv6 in its short form; the daemon takes every form of the latter.
const V4_NET: &str = r"^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])/(3[0-2]|[12]?[0-9])$";
const V6_NET: &str = r"^([0-9a-f]{1,4}:){1,7}:/(12[0-8]|1[01][0-9]|[1-9]?[0-9])$";
