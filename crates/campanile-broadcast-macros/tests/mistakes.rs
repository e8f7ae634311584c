//! What the compiler says of mistakes: the words are part of the interface.
//!
//! After a change of words, `TRYBUILD=overwrite cargo test -p campanile-broadcast-macros` writes them down anew.

#[test]
fn mistakes_are_told_by_the_compiler_in_words_that_say_what_to_write() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
