//! The addresses of an etcd, as people write them.

/// The addresses of a cluster, sorted and without schemes, so that two spellings of one cluster are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Addresses {
    pub(super) is_tls: bool,
    pub(super) members: Vec<String>,
}

impl Addresses {
    /// From a comma list. TLS is decided by the scheme, without one by whether there are TLS files.
    ///
    /// # Errors
    /// Schemes that say different things, and plaintext where there are TLS files: nobody who asked for TLS gets anything else.
    pub(super) fn parse(list: &str, has_tls_files: bool) -> Result<Self, String> {
        let (mut is_tls, mut is_plain) = (false, false);
        let mut members: Vec<String> = list
            .split(',')
            // Vitess takes a space after a comma as part of the address, which then never works.
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(|address| {
                let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
                is_tls |= matches!(scheme, "https" | "unixs");
                is_plain |= scheme == "http";
                match scheme {
                    "" | "http" | "https" => rest.trim_end_matches('/').to_owned(),
                    _ => address.to_owned(),
                }
            })
            .collect();
        if is_plain && has_tls_files {
            return Err("http:// is plaintext, and --topo-etcd-tls-* asks for TLS: leave out one of them".to_owned());
        }
        if is_plain && is_tls {
            return Err(
                "http:// is plaintext, and another of the addresses asks for TLS: say https:// for all of them".to_owned()
            );
        }
        members.sort_unstable();
        members.dedup();
        // A socket of this machine needs none.
        let is_tls = is_tls || has_tls_files && members.iter().any(|member| !member.starts_with("unix://"));
        Ok(Self { is_tls, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_cluster_are_equal() {
        let plain = Addresses::parse("a:2379,b:2379", false).unwrap();
        for spelling in ["b:2379,a:2379", "http://a:2379, http://b:2379/", "http://b:2379,a:2379", "a:2379,b:2379,"] {
            assert_eq!(Addresses::parse(spelling, false).unwrap(), plain, "{spelling}");
        }
        assert_ne!(Addresses::parse("https://a:2379,b:2379", false).unwrap(), plain);
        assert_ne!(Addresses::parse("a:2379,b:2379", true).unwrap(), plain);
        assert_eq!(Addresses::parse("a:2379,https://b:2379", false).unwrap(), Addresses::parse("a:2379,b:2379", true).unwrap());
    }

    #[test]
    fn who_asks_for_tls_gets_nothing_else() {
        for (list, has_tls_files) in [
            ("http://a:2379,b:2379", true),
            ("b:2379, http://a:2379", true),
            ("http://a:2379,https://b:2379", false),
            ("https://b:2379,c:1,http://a:2379", false),
        ] {
            let refused = Addresses::parse(list, has_tls_files).unwrap_err();
            assert!(refused.contains("http:// is plaintext"), "{list}: {refused}");
        }
    }
}
