//! The sources of `docs/examples/sources.toml`, so that tests run what people copy.

use crate::programs::workspace;

/// The lines of the source `name`, but for its name, which is the first, and its secret.
///
/// # Panics
/// When the example has no such source.
#[must_use]
pub fn source(name: &str) -> String {
    let path = workspace().join("docs/examples/sources.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut sources = text.split("[[source]]\n").skip(1);
    let found = sources.find(|source| source.starts_with(&format!("name = \"{name}\"")));
    let found = found.unwrap_or_else(|| panic!("{} has no source `{name}`", path.display()));
    let own_lines = found.lines().skip(1).filter(|line| !line.starts_with("secret = "));
    own_lines.collect::<Vec<_>>().join("\n")
}
