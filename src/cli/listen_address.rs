//! The addresses to listen on, as they are written on the command line and in a file.

use super::value::address;

/// How long the path of a Unix socket may be (`sockaddr_un`, unix(7)), without its final NUL.
const PATH_BYTES_MAX: usize = 107;

/// Checks an address: `IP:PORT`, `:PORT`, `NAME:PORT`, `unix:/PATH` or `unix:@NAME`.
pub(super) fn listen_address(text: &str) -> Result<String, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            path if path.len() > PATH_BYTES_MAX => {
                Err(format!("the path of a Unix socket has at most {PATH_BYTES_MAX} bytes"))
            }
            path if path.contains('\0') => Err("a path has no NUL byte".to_owned()),
            path if path.len() > 1 && path.starts_with(['/', '@']) => Ok(text.to_owned()),
            _ => Err("write unix:/run/ringd/web.sock with an absolute path".to_owned()),
        };
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok() && !port.starts_with('+');
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // Digits and dots alone are an address of IPv4, or a mistyped one.
    let is_name = |name: &str| {
        name.bytes().all(is_label) && name.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    let named = text.rsplit_once(':');
    match named {
        Some((name, port)) if is_port(port) && (name.is_empty() || is_name(name)) => {
            Ok(text.to_owned())
        }
        _ => address(text).map(|address| address.to_string()).map_err(|_| {
            "it must be an address and a port of at most 65535, as in \"127.0.0.1:8080\", \
             \":8080\", \"[::1]:8080\" or \"localhost:8080\", or \"unix:/PATH\""
                .to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::listen_address;

    #[test]
    fn addresses_have_several_forms() {
        for text in [
            "127.0.0.1:0",
            "[::1]:8080",
            ":80",
            "localhost:8080",
            "a-b.example.:65535",
            "unix:/run/a.sock",
            "unix:@name",
        ] {
            assert_eq!(listen_address(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":",
            "80",
            "localhost",
            "127.0.0.1",
            "127.0.0.1:65536",
            "127.0.1:80",
            "::1:80",
            ":+80",
            "a b:80",
            "a/b:80",
            "unix:",
            "unix:/",
            "unix:a.sock",
            "unix:/a\0",
        ] {
            assert!(listen_address(text).is_err(), "{text:?}");
        }
        let long = format!("unix:/{}", "a".repeat(107));
        assert!(listen_address(&long).unwrap_err().contains("107"));
    }
}
