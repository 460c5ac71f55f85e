//! The last answer to each URI with its `ETag`, so that an unchanged thing costs nothing of the rate limit
//! (GitHub: a 304 is not counted). Holds the decoded facts, not the bodies.
//!
//! One cache belongs to one credential: what a URI answers depends on who asks.

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use http::HeaderValue;

/// A decoded answer of any type; each URI always has the same.
type Facts = Arc<dyn Any + Send + Sync>;

/// Remembers at most `most` answers; the oldest goes first.
pub(super) struct Cache {
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Arc<str>, (HeaderValue, Facts)>,
    order: VecDeque<Arc<str>>,
}

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        Self { most, inner: Mutex::default() }
    }

    /// The `ETag` and the facts last seen at this URI.
    pub(super) fn get<T: Clone + Send + Sync + 'static>(&self, uri: &str) -> Option<(HeaderValue, T)> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (etag, facts) = inner.entries.get(uri)?;
        Some((etag.clone(), facts.downcast_ref::<T>()?.clone()))
    }

    /// Forgets all, for another credential.
    pub(super) fn clear(&self) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Inner::default();
    }

    pub(super) fn put<T: Clone + Send + Sync + 'static>(&self, uri: &str, etag: &HeaderValue, facts: &T) {
        // A header is a part of what was read from the connection, and would keep all of that.
        let Ok(etag) = HeaderValue::from_bytes(etag.as_bytes()) else { return };
        let uri: Arc<str> = uri.into();
        let inner = &mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.entries.insert(uri.clone(), (etag, Arc::new(facts.clone()))).is_none() {
            inner.order.push_back(uri);
        }
        if inner.order.len() > self.most
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_oldest_answer_goes_when_the_cache_is_full() {
        let cache = Cache::new(2);
        for uri in ["/a", "/b", "/a", "/c"] {
            cache.put(uri, &HeaderValue::from_static("\"1\""), &uri.to_owned());
        }
        assert_eq!(cache.get::<String>("/a"), None);
        assert_eq!(cache.get::<String>("/b").map(|(_, facts)| facts), Some("/b".to_owned()));
        assert_eq!(cache.get::<String>("/c").map(|(_, facts)| facts), Some("/c".to_owned()));
    }

    #[test]
    fn what_was_read_around_an_etag_is_not_kept_with_it() {
        let (cache, read) = (Cache::new(2), Bytes::from(b"etag: \"1\"\r\n".to_vec()));
        cache.put("/a", &HeaderValue::from_maybe_shared(read.slice(6..9)).unwrap(), &1_i64);
        assert_eq!(cache.get::<i64>("/a"), Some((HeaderValue::from_static("\"1\""), 1)));
        assert!(read.is_unique());
    }

    #[test]
    fn facts_of_another_type_are_not_found() {
        let cache = Cache::new(2);
        cache.put("/a", &HeaderValue::from_static("\"1\""), &1_i64);
        assert!(cache.get::<String>("/a").is_none());
    }
}
