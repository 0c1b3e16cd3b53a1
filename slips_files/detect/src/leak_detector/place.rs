//! Coordinates in the addresses of requests over HTTP, as logs of requests have them too.

const LATITUDE: [&str; 2] = ["lat", "latitude"];
const LONGITUDE: [&str; 4] = ["lon", "lng", "long", "longitude"];
const BOTH: [&str; 6] = ["ll", "q", "latlon", "location", "locations", "path"];
/// Parameters of one request that are read.
const MAX_PARAMETERS: usize = 64;

/// A number of degrees with two decimals at least, of at most `most`.
fn is_degrees(text: &str, most: f64) -> bool {
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    (2..=16).contains(&decimals) && plain && text.parse::<f64>().is_ok_and(|degrees| degrees.abs() <= most)
}

/// Both coordinates in one text.
fn is_pair(text: &str) -> bool {
    let comma = text.split_once(',').or_else(|| text.split_once("%2C")).or_else(|| text.split_once("%2c"));
    comma.is_some_and(|(one, other)| is_degrees(one.trim(), 90.0) && is_degrees(other.trim(), 180.0))
}

/// Whether an address tells where somebody is.
pub(super) fn tells_place(address: &str) -> bool {
    let Some((_, parameters)) = address.split_once('?') else { return false };
    let (mut latitude, mut longitude) = (false, false);
    for parameter in parameters.split(['&', ';', '#']).take(MAX_PARAMETERS) {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        latitude |= is(&LATITUDE) && is_degrees(value, 90.0);
        longitude |= is(&LONGITUDE) && is_degrees(value, 180.0);
        if is(&BOTH) && is_pair(value) {
            return true;
        }
    }
    latitude && longitude
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_told_from_other_numbers() {
        for uri in [
            "/w?lat=50.0755&lon=14.4378",
            "/w?a=1&Latitude=-33.86&longitude=151.2093",
            "/maps?ll=50.0755,14.4378",
            "/maps?q=50.0755%2C14.4378&z=3",
        ] {
            assert!(tells_place(uri), "{uri}");
        }
        for uri in [
            "/",
            "/w?lat=50.0755",
            "/w?lat=50&lon=14",
            "/w?lat=95.0755&lon=14.4378",
            "/w?q=1.5,2.5",
            "/w?q=hello,world",
            "/w?latency=50.0755&longest=14.4378",
            "/w?lat=NaN.00&lon=inf.00",
        ] {
            assert!(!tells_place(uri), "{uri}");
        }
    }
}
