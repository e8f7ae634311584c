//! What others have written, for a terminal.
//!
//! Owns which characters are shown as they are. Never cuts a text. The invariant: nothing that a server or another client
//! sends can move the cursor, colour the screen, begin a line or turn the reading direction.

/// A text with whatever a terminal would act on written out, such as `\u{1b}`.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match acts(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// Controls, marks and overrides of direction, and the separators that some terminals take for line breaks.
fn acts(character: char) -> bool {
    let turns =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turns || matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_written_out_and_the_rest_is_not() {
        let hostile = "\u{1b}]0;x\u{7}\u{9b}31m\n\u{202e}\u{2066}\u{2028}";
        assert_eq!(visible(hostile), r"\u{1b}]0;x\u{7}\u{9b}31m\n\u{202e}\u{2066}\u{2028}");
        let harmless = r#"{"név":"Zoë, ‘α’ 東京 👩‍💻"}"#;
        assert_eq!(visible(harmless), harmless);
    }
}
