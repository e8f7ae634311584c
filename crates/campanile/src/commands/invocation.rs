//! What a shell must be told to run this binary again.
//!
//! Owns the choice between the bare name and a path. Never runs anything. The invariant: what it gives can be pasted
//! into a shell that stands where this process was started. Next: `demo/invitation.rs`, which prints such lines.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The binary's name, as `PATH` is searched for it.
const NAME: &str = "campanile";

/// How to call this binary: `campanile` where the shell finds it by that name, else by its path.
pub(super) fn invocation() -> String {
    let here = env::current_dir().ok();
    match env::current_exe() {
        Ok(binary) => shortest(&binary, env::var_os("PATH").as_deref(), here.as_deref()),
        // Whoever has started it knows where it is.
        Err(_) => NAME.to_owned(),
    }
}

fn shortest(binary: &Path, search_path: Option<&OsStr>, here: Option<&Path>) -> String {
    let found =
        search_path.into_iter().flat_map(env::split_paths).map(|dir| dir.join(NAME)).find(|path| path.is_file());
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if found.is_some_and(|found| resolved(&found) == resolved(binary)) {
        return NAME.to_owned();
    }
    // A path with a slash in it is never searched for.
    let inside = here.and_then(|here| binary.strip_prefix(here).ok()).map(|inside| match inside.components().count() {
        1 => Path::new(".").join(inside),
        _ => inside.to_owned(),
    });
    quoted(&inside.unwrap_or_else(|| PathBuf::from(binary)).display().to_string())
}

/// As a shell takes it for one word.
fn quoted(path: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+".contains(character);
    match path.chars().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_called_by_name_only_if_that_name_finds_it() {
        let directory = tempfile::tempdir().unwrap();
        let [on_path, built] = ["bin", "target/release"].map(|name| directory.path().join(name));
        for place in [&on_path, &built] {
            std::fs::create_dir_all(place).unwrap();
        }
        let binary = built.join(NAME);
        std::fs::write(&binary, "").unwrap();
        let search_path = env::join_paths([Path::new("/nowhere"), &on_path]).unwrap();
        let call = |here: &Path| shortest(&binary, Some(&search_path), Some(here));

        assert_eq!(call(directory.path()), "target/release/campanile");
        assert_eq!(call(&built), "./campanile");
        assert_eq!(call(Path::new("/nowhere")), quoted(&binary.display().to_string()));
        assert_eq!(shortest(&binary, None, None), quoted(&binary.display().to_string()));
        // Another one of that name is not this one.
        std::fs::write(on_path.join(NAME), "").unwrap();
        assert_eq!(call(directory.path()), "target/release/campanile");
        std::fs::remove_file(on_path.join(NAME)).unwrap();
        std::os::unix::fs::symlink(&binary, on_path.join(NAME)).unwrap();
        assert_eq!(call(directory.path()), "campanile");
    }

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        assert_eq!(quoted("/opt/it's here/campanile"), r"'/opt/it'\''s here/campanile'");
        assert_eq!(quoted("target/release/campanile"), "target/release/campanile");
    }
}
