//! Tables for spreadsheets (RFC 4180).

use super::sums::Sums;
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::fmt::Write;

const HEAD: &str = "date,type,migrations,successful,failed,cancelled,rolled_back,open,success_rate,average_duration_seconds,bytes_transferred,\
                    average_transfer_rate_bytes\r\n";

pub(super) fn table(lines: &BTreeMap<(Date, String), Sums>) -> String {
    let mut out = HEAD.to_owned();
    let number = |n: Option<f64>| n.map(|n| format!("{n:.1}")).unwrap_or_default();
    for ((date, kind), s) in lines {
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "{date},{},{},{},{},{},{},{},{},{},{},{}\r\n",
            field(kind),
            s.runs,
            s.completed,
            s.failed,
            s.cancelled,
            s.rolled_back,
            s.open(),
            number(s.success_rate()),
            number(s.average_duration()),
            s.bytes,
            number(s.rate())
        );
    }
    out
}

/// A text as a field: quoted where it must be, and with an apostrophe before what a spreadsheet would take for a formula.
pub(crate) fn field(text: &str) -> String {
    let formula = text.trim_start_matches([' ', '"']).starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n', ';', '\t']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_spreadsheet_finds_no_formula() {
        for (text, shown) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\"'\t=1\""),
            ("\r\n=1", "\"'\r\n=1\""),
            ("  =1", "'  =1"),
            ("\"=1", "\"'\"\"=1\""),
            ("two\nlines", "\"two\nlines\""),
        ] {
            assert_eq!(field(text), shown, "{text:?}");
        }
    }
}
