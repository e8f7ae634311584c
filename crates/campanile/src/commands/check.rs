//! `campanile check`: the configuration that the server would run with.
//!
//! Owns the two answers: the effective configuration on standard output, or every problem on
//! standard error and exit code 1. Never binds a port or touches `state_dir`. The invariant: it
//! reads exactly what `serve` reads, by the same function. Next: `config/`.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::CheckArgs;
use crate::config::{Config, Machine};
use crate::tls;

/// Checks, prints, and says whether the server would start.
///
/// # Errors
///
/// When the output cannot be written.
pub fn run(
    args: &CheckArgs,
    environment: impl Iterator<Item = (String, String)>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    let loaded = Config::load_explained(args.file.config.as_deref(), environment, &Machine::here());
    match loaded {
        Ok((config, explanation)) => {
            if let Some(Err(error)) = config.tls.as_ref().map(tls::load) {
                writeln!(err, "[tls]: {error}")?;
                return Ok(ExitCode::FAILURE);
            }
            let text = explanation.to_toml().map_err(io::Error::other)?;
            out.write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            writeln!(err, "{error}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ConfigArgs;

    fn check(text: &str) -> (ExitCode, String, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("campanile.toml");
        std::fs::write(&path, text).unwrap();
        let args = CheckArgs { file: ConfigArgs { config: Some(path) } };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&args, std::iter::empty(), &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_valid_configuration_is_printed_in_full_without_its_secrets() {
        let (code, out, err) = check(
            "[listen]\nport = 7000\n\
             [[apps]]\nid = 'shop'\nkeys = [{ key = 'k1', secret = 'very-secret' }]\n",
        );
        assert_eq!(code, ExitCode::SUCCESS);
        assert_eq!(err, "");
        assert!(out.contains("port = 7000  # file, line 2"), "{out}");
        assert!(out.contains("head_bytes_max = 16384\n"), "{out}");
        assert!(out.contains("key = \"k1\""), "{out}");
        assert!(out.contains("secret = \"[redacted]\""), "{out}");
        assert!(!out.contains("very-secret"), "{out}");
    }

    #[test]
    fn a_certificate_that_the_server_would_refuse_is_refused_here() {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let text = format!("[tls]\ncert_file = '{}'\nkey_file = '{}'\n", cert.display(), key.display());
        assert_eq!(check(&text).0, ExitCode::SUCCESS);
        std::fs::write(&key, "").unwrap();
        let (code, out, err) = check(&text);
        assert_eq!((code, out.as_str()), (ExitCode::FAILURE, ""));
        assert!(err.contains("key.pem: holds no private key"), "{err}");
    }

    #[test]
    fn every_problem_goes_to_standard_error_and_nothing_to_standard_output() {
        let (code, out, err) = check(
            "[listen]\nport = 70000\nhost = 'example.com'\n\
             [[apps]]\nid = 'shop'\nkeys = [{ key = 'k1', secret = 'very-secret' }]\n\
             [log]\nlevel = 'loud'\n",
        );
        assert_eq!(code, ExitCode::FAILURE);
        assert_eq!(out, "");
        assert!(err.contains("the configuration has 3 problems:"), "{err}");
        assert!(err.contains("campanile.toml:2: listen.port: 70000"), "{err}");
        assert!(err.contains("campanile.toml:8: log.level: \"loud\""), "{err}");
        assert!(!err.contains("very-secret"), "{err}");
    }
}
