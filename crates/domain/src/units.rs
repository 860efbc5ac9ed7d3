//! Sizes, rates and durations, printed and read as document 3 shows them: `"12.1 GB"`, `"2.3 MB/s"`, `"28m 45s"`.
//! A GB is 1024³ bytes: the document prints 13019963392 bytes as "12.1 GB".

const STEPS: [(&str, u64); 5] = [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

/// `13019963392` → `"12.1 GB"`; below one KB without decimals.
pub fn size(bytes: u64) -> String {
    let (unit, step) = STEPS.into_iter().find(|(_, step)| bytes >= *step).unwrap_or(("B", 1));
    if step == 1 { format!("{bytes} B") } else { format!("{:.1} {unit}", bytes as f64 / step as f64) }
}

/// Bytes per second → `"2.3 MB/s"`.
pub fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", size(bytes_per_second.max(0.0) as u64))
}

/// Seconds → `"28m 45s"`, `"1h 02m"`, `"0.8s"` below ten seconds.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..10 => format!("{:.1}s", seconds.max(0.0)),
        10..60 => format!("{whole}s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

/// `"10MB"`, `"10 MB"`, `"64KiB"`, `"1g"`, `"4096"` → bytes; `None` for anything else, for zero units and on overflow.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim().to_ascii_uppercase();
    let unit = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
    let factor = match unit {
        "" => 1u64,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    let bytes = number * factor as f64;
    (0.0..9.0e18).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_the_document_prints_them() {
        assert_eq!(size(13_019_963_392), "12.1 GB");
        assert_eq!(size(16_642_998_272), "15.5 GB");
        assert_eq!(size(512), "512 B");
        assert_eq!(rate(2_411_724.8), "2.3 MB/s");
        assert_eq!(duration(1725.0), "28m 45s");
        assert_eq!(duration(0.84), "0.8s");
    }

    #[test]
    fn sizes_are_read_back() {
        assert_eq!(parse_size("10MB"), Some(10 << 20));
        assert_eq!(parse_size("64 KiB"), Some(64 << 10));
        assert_eq!(parse_size("4096"), Some(4096));
        assert_eq!(parse_size("ten"), None);
        assert_eq!(parse_size("10 parsecs"), None);
    }
}
