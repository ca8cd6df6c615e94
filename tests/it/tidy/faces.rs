//! The two faces, async and blocking, document the same call with the same words.

/// Return the public methods of a file with the first paragraph of their documentation.
pub(super) fn methods(text: &str) -> Vec<(String, String)> {
    let mut methods = Vec::new();
    let (mut paragraph, mut is_open) = (String::new(), true);
    for line in text.lines().map(str::trim) {
        if let Some(prose) = line.strip_prefix("///") {
            is_open &= !prose.trim().is_empty();
            if is_open {
                paragraph.push_str(prose);
            }
        } else if !line.starts_with("#[") {
            if let Some(name) = method_name(line) {
                methods.push((name.to_owned(), paragraph.trim().to_owned()));
            }
            (paragraph, is_open) = (String::new(), true);
        }
    }
    methods
}

fn method_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ")?;
    let rest = rest.strip_prefix("async ").unwrap_or(rest).strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

/// Return the methods of both faces whose first paragraphs differ, and the two paragraphs.
pub(super) fn differences(one: &str, other: &str) -> Vec<(String, String)> {
    let others = methods(other);
    let shared = methods(one).into_iter().filter_map(|(name, paragraph)| {
        let (_, other) = others.iter().find(|(other, _)| *other == name)?;
        Some((name, paragraph, other.clone()))
    });
    let different = shared.filter(|(_, one, other)| one != other);
    different.map(|(name, one, other)| (name, format!("\n    {one}\n    {other}"))).collect()
}

#[test]
fn first_paragraphs_are_compared_by_method() {
    let one = "
    /// Return the value of `key`.
    ///
    /// # Errors
    #[inline]
    pub async fn get<K: AsRef<[u8]>>(&self, key: K) {}
    /// Close.
    pub fn close(&self) {}";
    let other = "
    /// Return the value of `key`.
    pub fn get(&self) {}
    /// Close it.
    pub fn close(&self) {}
    /// Wait.
    pub fn wait(&self) {}";
    let expected = [("get", "Return the value of `key`."), ("close", "Close.")];
    assert_eq!(methods(one), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let expected = [("close".to_owned(), "\n    Close.\n    Close it.".to_owned())];
    assert_eq!(differences(one, other), expected);
}
