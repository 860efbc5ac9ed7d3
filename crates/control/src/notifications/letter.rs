//! A notice as an e-mail: plain text and HTML.

use super::Notice;
use crate::Error;
use minijinja::Environment;

impl Notice {
    /// Subject, text and HTML. Everything that callers wrote is escaped in the HTML and cannot break the subject's line.
    pub fn letter(&self) -> Result<(String, String, String), Error> {
        let mut environment = Environment::new();
        let failed = |e: minijinja::Error| Error::internal(format!("a letter cannot be written: {e}"));
        environment.add_template("letter.txt", include_str!("letter.txt")).map_err(failed)?;
        environment.add_template("letter.html", include_str!("letter.html")).map_err(failed)?;
        let render = |name: &str| environment.get_template(name).and_then(|t| t.render(self)).map_err(failed);
        let subject = self.subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Ok((subject, render("letter.txt")?, render("letter.html")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same_and_html_is_escaped() {
        let notice = Notice {
            subject: "Migration '<b>x\r\nBcc: everybody' failed".to_owned(),
            lead: "Because <script>.".to_owned(),
            facts: vec![("From", "sftp://a & b".to_owned())],
            next: vec!["Do <this>.".to_owned()],
        };
        let (subject, text, html) = notice.letter().unwrap();
        assert!(!subject.contains(['\r', '\n']));
        assert!(text.contains("Because <script>.") && text.contains("From:      sftp://a & b") && text.contains("- Do <this>."), "{text}");
        assert!(
            !html.contains("<script>") && html.contains("&lt;script&gt;") && html.contains("sftp:&#x2f;&#x2f;a &amp; b") && !html.contains("<b>x"),
            "{html}"
        );
    }
}
