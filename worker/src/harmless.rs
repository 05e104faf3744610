//! Text from outside, made fit to be shown: whatever could end a line, move a cursor, colour a terminal or turn the
//! reading direction is replaced or dropped. Pure.

/// What stands in place of a character that must not be shown.
pub(crate) const REPLACEMENT: char = '\u{fffd}';

/// One line of at most `limit` characters; what is too long ends in `…`. White space of any kind becomes one space.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    let mut taken = 0;
    for word in text.split_whitespace() {
        let space = usize::from(taken > 0);
        for c in std::iter::repeat_n(' ', space).chain(word.chars().map(harmless)) {
            line.push(c);
            taken += 1;
            if taken > limit {
                return shortened(&line, limit);
            }
        }
    }
    line
}

/// The text cut off so that it has at most `limit` characters.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// The last `limit` lines of a program's output, at most `max_bytes` of it, as a terminal would leave them standing:
/// without escape sequences, and only what was written last over a line. Says whether there was more before them.
pub(crate) fn last_lines(output: &str, limit: usize, max_bytes: usize) -> (Vec<String>, bool) {
    let start = output.ceil_char_boundary(output.len().saturating_sub(max_bytes));
    // A line of which the beginning is cut off is dropped, unless it is all there is.
    let is_cut = start > 0 && !output[..start].ends_with('\n');
    let whole =
        if is_cut { output[start..].split_once('\n').map_or(&output[start..], |(_, rest)| rest) } else { &output[start..] };
    let whole = if whole.trim().is_empty() { &output[start..] } else { whole };
    let without_escapes = without_escapes(whole);
    let mut lines: Vec<String> = without_escapes.split('\n').map(output_line).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let first = lines.len().saturating_sub(limit);
    let lines = lines.split_off(first);
    (lines, first > 0 || start > 0)
}

/// The character itself, if it does no harm.
pub(crate) fn harmless(c: char) -> char {
    if is_harmful(c) { REPLACEMENT } else { c }
}

/// Control characters, the line ends of Unicode, and what is invisible or turns the reading direction
/// (Unicode Technical Report 36, section 2.10). The joiners U+200C and U+200D stay: scripts and emoji need them.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// A line as it stands after carriage returns; tabs are kept, other control characters are dropped.
fn output_line(line: &str) -> String {
    let last = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or("");
    let shown = |c: &char| *c == '\t' || !c.is_control();
    let shown = last.chars().filter(shown).map(|c| if c == '\t' { c } else { harmless(c) });
    shown.collect::<String>().trim_end().to_owned()
}

/// The text without escape sequences (ECMA-48). One that is not finished ends with its line, so that it hides no more.
fn without_escapes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\u{1b}', '\u{9b}', '\u{9d}', '\u{90}']) {
        kept.push_str(&rest[..at]);
        rest = after_escape(&rest[at..]);
    }
    kept.push_str(rest);
    kept
}

/// What follows the escape sequence that `text` begins with.
fn after_escape(text: &str) -> &str {
    let mut characters = text.chars();
    let introducer = match characters.next() {
        Some('\u{1b}') => characters.next(),
        Some('\u{9b}') => Some('['),
        Some('\u{9d}' | '\u{90}') => Some(']'),
        _ => None,
    };
    match introducer {
        // Control sequence: parameters and intermediates, then one final byte.
        Some('[') => {
            let rest = characters.as_str().trim_start_matches(|c: char| (' '..='?').contains(&c));
            rest.strip_prefix(|c: char| ('@'..='~').contains(&c)).unwrap_or(rest)
        }
        // Control string (a title, a link): up to BEL or ST.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let rest = characters.as_str();
            let end = rest.find(['\u{7}', '\u{1b}', '\u{9c}', '\n']).unwrap_or(rest.len());
            let rest = &rest[end..];
            let after = rest.strip_prefix("\u{1b}\\").or_else(|| rest.strip_prefix(['\u{7}', '\u{9c}']));
            after.unwrap_or(rest)
        }
        // Such as the choice of a character set: intermediates, then one final byte.
        Some(' '..='/') => {
            let rest = characters.as_str().trim_start_matches(|c: char| (' '..='/').contains(&c));
            rest.strip_prefix(|c: char| ('0'..='~').contains(&c)).unwrap_or(rest)
        }
        Some('0'..='~') => characters.as_str(),
        // No sequence at all: only the escape character itself is dropped.
        _ => text.strip_prefix('\u{1b}').unwrap_or(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_stays_one_line_and_says_where_it_was_cut() {
        assert_eq!(one_line("a\r\nBcc: b\t c\u{2028}d", 80), "a Bcc: b c d");
        assert_eq!(one_line("a\u{0}b\u{1b}[31m\u{202e}x", 80), "a\u{fffd}b\u{fffd}[31m\u{fffd}x");
        assert_eq!(one_line(&"🦀".repeat(20), 10), format!("{}…", "🦀".repeat(9)));
        assert_eq!(one_line("exactly ten", 11), "exactly ten");
        assert_eq!(one_line(" \n ", 10), "");
    }

    #[test]
    fn output_is_shown_as_a_terminal_would_leave_it() {
        let output = "\u{1b}[1;31merror\u{1b}[0m: x\n 10%\r 50%\r100%\r\n\u{1b}]0;title\u{7}a\tb\u{8}\n\u{1b}(Bplain\n\n";
        assert_eq!(last_lines(output, 40, 8192), (["error: x", "100%", "a\tb", "plain"].map(str::to_owned).to_vec(), false));
    }

    #[test]
    fn a_sequence_that_does_not_end_hides_no_more_than_its_line() {
        assert_eq!(last_lines("a\u{1b}]0;title\nb\n", 40, 8192).0, ["a", "b"]);
        assert_eq!(last_lines("a\u{1b}[31\nb\u{1b}", 40, 8192).0, ["a", "b"]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let output: String = (1..=50).map(|number| format!("line {number}\n")).collect();
        let (lines, more) = last_lines(&output, 40, 8192);
        assert_eq!((lines.len(), lines[0].as_str(), lines[39].as_str(), more), (40, "line 11", "line 50", true));
        let (lines, more) = last_lines(&output, 40, 20);
        assert_eq!((lines, more), (vec!["line 49".to_owned(), "line 50".to_owned()], true));
        let (lines, more) = last_lines(&"ü".repeat(100), 40, 21);
        assert_eq!((lines, more), (vec!["ü".repeat(10)], true));
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left_of_any_text(text in any::<String>(), limit in 1usize..200) {
            let line = one_line(&text, limit);
            prop_assert!(line.chars().count() <= limit);
            prop_assert!(!line.chars().any(is_harmful), "{line:?}");
            for line in last_lines(&text, 40, 8192).0 {
                prop_assert!(!line.chars().any(|c| c != '\t' && is_harmful(c)), "{line:?}");
            }
        }
    }
}
