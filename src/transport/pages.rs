//! Reading a list to its end, whole or not at all.
//!
//! Both upstreams page by number and may change, or be cut, while they are read. Pages are numbered here and
//! no link is ever followed: Datadog's `next` points past the end, and GitHub's host is not always ours.

use std::{collections::HashSet, hash::Hash};

use futures_util::future::try_join_all;

use crate::model::{Class, Trouble};

/// Longest list read, in pages of 100. A server that never stops must not keep us for ever.
const MOST_PAGES: usize = 2_000;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Another page may follow: this one is full, or says so.
    pub more: bool,
    /// How many pages there seem to be, when the upstream says. A hint to read them at once, nothing else.
    pub pages: Option<usize>,
    /// How many items the upstream says there are on all pages.
    pub total: Option<usize>,
}

/// Reads all pages (`fetch` numbers them from 0) and drops what came twice. A list that contradicts itself,
/// because it changed or was cut underway, is read once more; if it still does, that is a transient trouble.
///
/// # Errors
/// The trouble of any page is the trouble of the whole: a part of a list is never returned.
pub async fn pages<T, K, F>(
    attempt: &str,
    fetch: impl Fn(usize) -> F,
    key: impl Fn(&T) -> K,
) -> Result<Vec<T>, Trouble>
where
    K: Hash + Eq,
    F: Future<Output = Result<Page<T>, Trouble>>,
{
    let mut why = String::new();
    for _ in 0..2 {
        match read(&fetch, &key).await? {
            Ok(items) => return Ok(items),
            Err(contradiction) => why = contradiction,
        }
    }
    Err(Trouble::new(Class::Transient, format!("failed to {attempt}: {why}, twice in a row")))
}

/// The whole list, or how it contradicted itself.
async fn read<T, K, F>(
    fetch: &impl Fn(usize) -> F,
    key: &impl Fn(&T) -> K,
) -> Result<Result<Vec<T>, String>, Trouble>
where
    K: Hash + Eq,
    F: Future<Output = Result<Page<T>, Trouble>>,
{
    let first = fetch(0).await?;
    let hinted = first.pages.unwrap_or(1).clamp(1, MOST_PAGES);
    let mut list = vec![first];
    list.extend(try_join_all((1..hinted).map(fetch)).await?);
    if let Some(end) = list.iter().position(|page| !page.more)
        && list.iter().skip(end + 1).any(|page| !page.items.is_empty())
    {
        return Ok(Err(format!("page {} of {hinted} said it was the last", end + 1)));
    }
    while list.last().is_some_and(|page| page.more) {
        if list.len() == MOST_PAGES {
            return Ok(Err(format!("the list did not end after {MOST_PAGES} pages")));
        }
        let page = fetch(list.len()).await?;
        if page.more && page.items.is_empty() {
            return Ok(Err(format!("page {} was empty and not the last", list.len() + 1)));
        }
        list.push(page);
    }
    let total = list.last().and_then(|page| page.total);
    let mut seen = HashSet::new();
    let items: Vec<T> =
        list.into_iter().flat_map(|page| page.items).filter(|item| seen.insert(key(item))).collect();
    match total {
        Some(total) if total != items.len() => {
            Ok(Err(format!("the list has {} items but says it has {total}", items.len())))
        }
        _ => Ok(Ok(items)),
    }
}
