//! Which path and method mean what.

use hyper::Method;

use crate::sources::{Source, Sources};

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Route<'a> {
    /// Whether the process lives.
    Health,
    /// Whether the spool takes writes.
    Ready,
    /// To take a delivery of this source.
    Source(&'a Source),
    /// A known path with another method; these it has.
    WrongMethod(&'static str),
    /// Nothing that is here.
    Unknown,
}

impl<'a> Route<'a> {
    /// The route of `method` and `path`, which has no query any more.
    pub(crate) fn of(sources: &'a Sources, method: &Method, path: &str) -> Self {
        let reads = *method == Method::GET || *method == Method::HEAD;
        match path {
            "/health" if reads => Self::Health,
            "/ready" if reads => Self::Ready,
            "/health" | "/ready" => Self::WrongMethod("GET, HEAD"),
            _ => match sources.at(path) {
                Some(source) if *method == Method::POST => Self::Source(source),
                Some(_) => Self::WrongMethod("POST"),
                None => Self::Unknown,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::config;

    fn shown(method: &Method, path: &str) -> &'static str {
        let folder = tempfile::tempdir().unwrap();
        match Route::of(&Sources::with_secrets(&config(folder.path()), &[]), method, path) {
            Route::Health => "health",
            Route::Ready => "ready",
            Route::Source(_) => "source",
            Route::WrongMethod(allowed) => allowed,
            Route::Unknown => "unknown",
        }
    }

    #[test]
    fn a_source_takes_posts_only() {
        assert_eq!(shown(&Method::POST, "/hooks/github"), "source");
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
            assert_eq!(shown(&method, "/hooks/github"), "POST");
        }
    }

    #[test]
    fn health_and_readiness_are_read() {
        assert_eq!((shown(&Method::GET, "/health"), shown(&Method::HEAD, "/health")), ("health", "health"));
        assert_eq!((shown(&Method::GET, "/ready"), shown(&Method::HEAD, "/ready")), ("ready", "ready"));
        assert_eq!((shown(&Method::POST, "/health"), shown(&Method::POST, "/ready")), ("GET, HEAD", "GET, HEAD"));
    }

    #[test]
    fn a_path_is_known_only_as_it_was_written() {
        for path in ["/", "", "*", "/hooks/github/", "/hooks//github", "/hooks", "/HOOKS/GITHUB", "/hooks/github%20"] {
            assert_eq!(shown(&Method::POST, path), "unknown", "{path:?}");
        }
    }
}
