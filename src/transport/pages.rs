//! Reading a list to its end, whole or not at all.
//!
//! Both upstreams page by number and may change, or be cut, while they are read. Pages are numbered here and
//! no link is ever followed: Datadog's `next` points past the end, and GitHub's host is not always ours.

use std::{collections::HashSet, hash::Hash};

use futures_util::future::try_join_all;

use crate::model::{Class, Trouble};

/// Longest list read, in pages of 100. A server that never stops must not keep us for ever. The longest list that there is
/// must fit: an organisation with 100,000 teams that are connected with several Datadog teams each has several thousand
/// pages of connections.
const MOST_PAGES: usize = 10_000;

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

/// Reads all pages (`fetch` numbers them from 0) and drops what came twice.
///
/// A list that changed or was cut while it was read contradicts itself. When it says how many items it has, it
/// is read once more; without a total nothing would vouch for the second reading, which may be cut elsewhere.
///
/// # Errors
/// The trouble of any page is the trouble of the whole: a part of a list is never returned. Transient for a
/// list that contradicts itself.
pub async fn pages<T, K, F>(
    attempt: &str,
    fetch: impl Fn(usize) -> F,
    key: impl Fn(&T) -> K,
) -> Result<Vec<T>, Trouble>
where
    K: Hash + Eq,
    F: Future<Output = Result<Page<T>, Trouble>>,
{
    let mut again = false;
    loop {
        let list = read(&fetch).await?;
        let counted = list.iter().any(|page| page.total.is_some());
        match whole(list, &key) {
            Ok(items) => return Ok(items),
            Err(_) if counted && !again => again = true,
            Err(why) => return Err(Trouble::new(Class::Transient, format!("failed to {attempt}: {why}"))),
        }
    }
}

/// Pages up to the last one, or to the longest list ever read.
async fn read<T, F>(fetch: &impl Fn(usize) -> F) -> Result<Vec<Page<T>>, Trouble>
where
    F: Future<Output = Result<Page<T>, Trouble>>,
{
    let first = fetch(0).await?;
    let hinted = first.pages.unwrap_or(1).clamp(1, MOST_PAGES);
    let mut list = vec![first];
    list.extend(try_join_all((1..hinted).map(fetch)).await?);
    // An empty page ends even a list that promises more: nothing is to be had beyond it.
    while list.last().is_some_and(|page| page.more && !page.items.is_empty()) && list.len() < MOST_PAGES {
        list.push(fetch(list.len()).await?);
    }
    Ok(list)
}

/// The items of all pages, or what says that they are not all.
fn whole<T, K: Hash + Eq>(list: Vec<Page<T>>, key: impl Fn(&T) -> K) -> Result<Vec<T>, String> {
    let pages = list.len();
    match list.iter().position(|page| !page.more) {
        None => return Err(format!("the list promises more after page {pages}, where nothing comes")),
        Some(end) if list.iter().skip(end + 1).any(|page| !page.items.is_empty()) => {
            return Err(format!("page {} of {pages} said it was the last", end + 1));
        }
        Some(_) => {}
    }
    let total = list.last().and_then(|page| page.total);
    let mut seen = HashSet::new();
    let items: Vec<T> =
        list.into_iter().flat_map(|page| page.items).filter(|item| seen.insert(key(item))).collect();
    match total {
        Some(total) if total != items.len() => {
            Err(format!("the list has {} items but says it has {total}", items.len()))
        }
        _ => Ok(items),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;

    fn page(items: &[u32], more: bool, pages: Option<usize>, total: Option<usize>) -> Page<u32> {
        Page { items: items.to_vec(), more, pages, total }
    }

    /// Reads a list whose every page answers these versions in turn, the last one again and again.
    async fn read_pages(versions: Vec<Vec<Page<u32>>>) -> (Result<Vec<u32>, String>, usize) {
        let asked = Mutex::new(vec![0; versions.len()]);
        let requests = AtomicUsize::new(0);
        let fetch = |number: usize| {
            requests.fetch_add(1, Relaxed);
            let version = std::mem::replace(&mut asked.lock().unwrap()[number], 1);
            let page = versions[number].get(version).or(versions[number].last()).cloned();
            async move { page.ok_or_else(|| Trouble::new(Class::Transient, "down")) }
        };
        let outcome = pages("read", fetch, |item| *item).await;
        (outcome.map_err(|trouble| trouble.message), requests.into_inner())
    }

    #[tokio::test]
    async fn a_list_is_read_to_its_last_page_whether_or_not_its_length_is_known() {
        let known = vec![vec![page(&[1, 2], true, Some(2), Some(3))], vec![page(&[3], false, None, Some(3))]];
        assert_eq!(read_pages(known).await, (Ok(vec![1, 2, 3]), 2));
        let unknown = vec![vec![page(&[1, 2], true, None, None)], vec![page(&[3], false, None, None)]];
        assert_eq!(read_pages(unknown).await, (Ok(vec![1, 2, 3]), 2));
    }

    #[tokio::test]
    async fn a_hint_that_is_too_low_or_too_high_does_no_harm() {
        let low = vec![vec![page(&[1], true, Some(1), None)], vec![page(&[2], false, None, None)]];
        assert_eq!(read_pages(low).await.0, Ok(vec![1, 2]));
        let high = vec![
            vec![page(&[1], true, Some(3), None)],
            vec![page(&[2], false, None, None)],
            vec![page(&[], false, None, None)],
        ];
        assert_eq!(read_pages(high).await.0, Ok(vec![1, 2]));
    }

    #[tokio::test]
    async fn what_came_twice_is_kept_once() {
        let shifted =
            vec![vec![page(&[1, 2], true, None, Some(3))], vec![page(&[2, 3], false, None, Some(3))]];
        assert_eq!(read_pages(shifted).await.0, Ok(vec![1, 2, 3]));
    }

    #[tokio::test]
    async fn one_page_that_fails_fails_the_list() {
        let broken = vec![vec![page(&[1], true, Some(2), None)], vec![]];
        assert_eq!(read_pages(broken).await.0, Err("down".into()));
    }

    #[tokio::test]
    async fn a_list_shorter_than_its_total_is_read_again_and_then_refused() {
        let healed = vec![vec![page(&[1], false, None, Some(2)), page(&[1, 2], false, None, Some(2))]];
        assert_eq!(read_pages(healed).await, (Ok(vec![1, 2]), 2));
        let cut = vec![vec![page(&[1], false, None, Some(2))]];
        let (outcome, requests) = read_pages(cut).await;
        assert_eq!(requests, 2);
        insta::assert_snapshot!(outcome.unwrap_err(), @"failed to read: the list has 1 items but says it has 2");
    }

    #[tokio::test]
    async fn a_last_page_before_a_page_with_items_is_a_cut_list() {
        let cut = vec![
            vec![page(&[1], true, Some(3), None)],
            vec![page(&[2], false, None, None)],
            vec![page(&[3], false, None, None)],
        ];
        let (outcome, requests) = read_pages(cut).await;
        insta::assert_snapshot!(outcome.unwrap_err(), @"failed to read: page 2 of 3 said it was the last");
        // Without a total it is not read again: the second reading might be cut where it does not show.
        assert_eq!(requests, 3);
    }

    #[tokio::test]
    async fn a_list_that_never_ends_is_refused() {
        let endless = vec![vec![page(&[1], true, None, None)], vec![page(&[], true, None, None)]];
        assert!(read_pages(endless).await.0.unwrap_err().contains("promises more after page 2"));
    }
}
