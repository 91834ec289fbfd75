//! Where something is reached: a host and a port, as text.

/// The most bytes in one address.
pub const HOST_PORT_MAX: usize = 255;

/// `host:port`: a host of visible ASCII, an IPv6 address in brackets, and a port from 1 to 65535 without leading zero.
///
/// Whether the host can be found is for who connects to it.
#[must_use]
pub fn is_host_port(text: &str) -> bool {
    if text.len() > HOST_PORT_MAX {
        return false;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let port_ok = !port.starts_with('0')
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok();
    let inner = host
        .strip_prefix('[')
        .map_or(Some(host), |rest| rest.strip_suffix(']'));
    let bracketed = inner != Some(host);
    let host_ok = inner.is_some_and(|inner| {
        let allowed = |byte: u8| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'.' | b'-' | b'_')
                || (bracketed && matches!(byte, b':' | b'%'))
        };
        !inner.is_empty() && inner.bytes().all(allowed)
    });
    port_ok && host_ok
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn tells_addresses_from_other_texts() {
        for good in ["a:1", "10.0.0.1:65535", "[::1]:80", "[fe80::1%eth0]:9418"] {
            assert!(is_host_port(good), "{good}");
        }
        let bad = [
            "", "a", "a:", ":1", "a:0", "a:01", "a:65536", "a:+1", "::1:80", "[::1]", "[]:1",
            "[a:1", "a b:1", "a/b:1", "ä:1", "a@b:1",
        ];
        for bad in bad {
            assert!(!is_host_port(bad), "{bad}");
        }
        assert!(!is_host_port(&format!("{}:1", "h".repeat(254))));
    }
}
