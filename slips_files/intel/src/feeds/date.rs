//! Dates of lists.

/// Seconds since 1970 of `2024-05-06`, `2024-05-06 07:08:09` or `2024-05-06T07:08:09Z`, or of a plain number of seconds; 0 for
/// anything else.
pub(super) fn seconds(text: &str) -> u32 {
    let text = text.trim();
    if text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().unwrap_or(0);
    }
    let number = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<i64>().ok());
    let date = (number(0, 4), number(5, 7), number(8, 10));
    let (Some(year @ 1970..=2105), Some(month @ 1..=12), Some(day @ 1..=31)) = date else { return 0 };
    let part = |from, to| number(from, to).unwrap_or(0).clamp(0, 60);
    let time = part(11, 13) * 3600 + part(14, 16) * 60 + part(17, 19);
    u32::try_from(days(year, month, day) * 86_400 + time).unwrap_or(0)
}

/// The last second of a day, `2027-01-31`; nothing for anything else, or a day that there is not.
pub(crate) fn last_second(day: &str) -> Option<u32> {
    let mut parts = day.split('-').map(|part| part.parse::<i64>().ok());
    let (Some(Some(year @ 1970..=2105)), Some(Some(month @ 1..=12)), Some(Some(date @ 1..=31)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let number = days(year, month, date);
    let next_month = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
    if number < next_month { u32::try_from((number + 1) * 86_400 - 1).ok() } else { None }
}

/// The second before a moment of UTC, `2027-01-31T18:00:00Z`, in which what ends then still holds; nothing for anything else.
pub(crate) fn second_before(moment: &str) -> Option<u32> {
    let (day, time) = moment.strip_suffix('Z')?.split_once('T')?;
    let mut parts = time.split(':').map(|part| (part.len() == 2).then(|| part.parse::<u32>().ok()).flatten());
    let (Some(Some(hour @ 0..24)), Some(Some(minute @ 0..60)), Some(Some(second @ 0..60)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let of_day = hour * 3600 + minute * 60 + second;
    (last_second(day)? - 86_399).checked_add(of_day)?.checked_sub(1)
}

/// Days since 1970-01-01: the year begins in March, so that the odd day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_whole_and_of_utc() {
        assert_eq!(second_before("1970-01-02T00:00:01Z"), Some(86_400));
        assert_eq!(second_before("2024-05-06T07:08:09Z"), Some(1_714_979_288));
        for text in [
            "",
            "1970-01-01T00:00:00Z",
            "2024-05-06T07:08:09",
            "2024-05-06T24:00:00Z",
            "2024-05-06T7:08:09Z",
            "2024-02-30T07:08:09Z",
            "TZ",
        ] {
            assert_eq!(second_before(text), None, "{text}");
        }
    }

    #[test]
    fn dates_of_all_forms() {
        for (text, expected) in [
            ("1970-01-01", 0),
            ("2000-02-29 00:00:00", 951_782_400),
            ("2024-05-06T07:08:09.123Z", 1_714_979_289),
            ("1714979289", 1_714_979_289),
            ("", 0),
            ("yesterday", 0),
            ("2024-13-01", 0),
            ("99999999999999999999", 0),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
