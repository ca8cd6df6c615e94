//! Durations as text, in the form that URLs of caches use.

use std::time::Duration;

use syn::LitStr;

/// The shortest TTL.
const SHORTEST: Duration = Duration::from_millis(1);

/// Return the TTL that a literal spells.
pub(crate) fn ttl(literal: &LitStr) -> syn::Result<Duration> {
    let text = literal.value();
    let Some(ttl) = parse(&text) else {
        let error = format!(
            "`{text}` is no duration; write a whole number with a unit (ms, s, m, h, d), such as \
             \"60s\", or an expression of type `Duration` without quotes"
        );
        return Err(syn::Error::new(literal.span(), error));
    };
    if ttl < SHORTEST {
        return Err(syn::Error::new(literal.span(), "a TTL is 1 ms at least"));
    }
    Ok(ttl)
}

fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(ms_per_unit).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        for (text, expected) in [
            ("250ms", Some(Duration::from_millis(250))),
            ("60s", Some(Duration::from_secs(60))),
            ("5m", Some(Duration::from_secs(300))),
            ("2h", Some(Duration::from_secs(7200))),
            ("1d", Some(Duration::from_secs(86_400))),
            ("60", None),
            ("s", None),
            ("", None),
            ("1.5s", None),
            ("60 s", None),
            ("999999999999999999999d", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
