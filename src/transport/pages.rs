//! Reading a list to its end, whole or not at all.
//!
//! Both upstreams page by number and may change, or be cut, while they are read. Pages are numbered here and
//! no link is ever followed: Datadog's `next` points past the end, and GitHub's host is not always ours.
//!
//! A list is complete when it ends in a short page and no id repeats. The total that an upstream states is a hint. When
//! it contradicts the ids, only a second reading that shows the same ids makes the list complete, and whoever would act
//! on what such a list lacks must have it from another read. Pages that were read stay read while a rate limit ends.

use std::{collections::HashSet, hash::Hash, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::{Kept, Shelf};
use crate::{
    model::{Class, Trouble},
    telemetry::upstreams,
};

/// Longest list read, in pages of 100. A server that never stops must not keep us for ever. The longest list that there is
/// must fit: an organisation with 100,000 teams that are connected with several Datadog teams each has several thousand
/// pages of connections.
const MOST_PAGES: usize = 10_000;

/// Pages under way at once at most; the clients' own limits are lower.
const AT_ONCE: usize = 64;

/// How often a list that contradicts itself, or the reading before, is read.
const MOST_READINGS: usize = 5;

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

/// A list that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// When its first page was asked for, by the monotonic clock: what happened later may not show.
    pub began: Duration,
    /// How many items the upstream says there are, when two readings showed these and no others.
    pub wrong_total: Option<usize>,
}

/// Which list is read.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The operation's name in metrics.
    pub list: &'static str,
    /// Finishes the sentence "failed to …".
    pub attempt: &'a str,
    /// Where the pages stay read while a rate limit ends. Only for a list of which a page may be as old as that.
    pub kept: Option<Kept>,
}

/// Reads all pages (`fetch` numbers them from 0), or those that an earlier attempt could not read.
///
/// A list in which an id comes twice was changed while it was read, and is read again. So is one that contradicts its
/// total, or shows other ids than the reading before. A cut shows only where there is a total: without one, nothing
/// would vouch for the second reading, which may be cut elsewhere.
///
/// # Errors
/// The trouble of any page is the trouble of the whole: a part of a list is never returned. Transient for a
/// list that goes on contradicting itself.
pub async fn pages<T, K, F>(
    shelf: &Shelf,
    asked: &Asked<'_>,
    fetch: impl Fn(usize) -> F,
    key: impl Fn(&T) -> K,
) -> Result<List<T>, Trouble>
where
    T: Clone + Send + 'static,
    K: Hash + Eq + Send + 'static,
    F: Future<Output = Result<Page<T>, Trouble>>,
{
    let mut reading = match asked.kept.as_ref().and_then(|kept| shelf.take::<Begun<T, K>>(kept)) {
        Some(Begun::Complete(list)) => {
            keep_for_look(shelf, asked, &list, Begun::<T, K>::Complete);
            return Ok(list);
        }
        Some(Begun::Reading(reading)) => reading,
        None => Reading::new(shelf.now()),
    };
    loop {
        if let Err(trouble) = reading.read(&fetch, &key).await {
            if let Some(kept) = asked.kept.clone().filter(|_| trouble.class == Class::Throttled) {
                let times = (reading.began, trouble.retry_after.unwrap_or_default());
                let pages = reading.pages.iter().flatten().count();
                shelf.put(kept, times, pages, Begun::Reading(reading));
            }
            return Err(trouble);
        }
        match reading.judge(&key) {
            Verdict::Complete(list) => {
                keep_for_look(shelf, asked, &list, Begun::<T, K>::Complete);
                if let Some(total) = list.wrong_total
                    && shelf.is_news(asked.list)
                {
                    upstreams::wrong_total(asked.list, total, list.items.len());
                }
                return Ok(list);
            }
            Verdict::Again { before, curable: true, .. } if reading.readings < MOST_READINGS => {
                reading = Reading { before, readings: reading.readings + 1, ..Reading::new(shelf.now()) };
            }
            Verdict::Again { why, .. } => {
                return Err(Trouble::new(Class::Transient, format!("failed to {}: {why}", asked.attempt)));
            }
        }
    }
}

/// What stays read of a list.
enum Begun<T, K> {
    Reading(Reading<T, K>),
    /// The other lists of the same look were not read to their end.
    Complete(List<T>),
}

/// Keeps a list that was read to its end until the other lists of its look are read too.
fn keep_for_look<T: Clone + Send + 'static, B: Send + 'static>(
    shelf: &Shelf,
    asked: &Asked<'_>,
    list: &List<T>,
    complete: impl Fn(List<T>) -> B,
) {
    if let Some(kept) = asked.kept.clone().filter(|kept| kept.look.is_some()) {
        let pages = list.items.len() / 100 + 1;
        shelf.put(kept, (list.began, Duration::ZERO), pages, complete(list.clone()));
    }
}

/// A list as far as it was read.
struct Reading<T, K> {
    began: Duration,
    /// By number; `None` for one that could not be read yet.
    pages: Vec<Option<Page<T>>>,
    /// The ids of the reading before, which contradicted the total.
    before: Option<HashSet<K>>,
    /// Which reading this is.
    readings: usize,
}

/// What a reading is worth.
enum Verdict<T, K> {
    Complete(List<T>),
    /// It contradicts itself. `before` are its ids, if the next reading may confirm them.
    Again {
        why: String,
        before: Option<HashSet<K>>,
        /// Another reading may be better, and would show it.
        curable: bool,
    },
}

impl<T, K: Hash + Eq> Reading<T, K> {
    fn new(began: Duration) -> Self {
        Self { began, pages: Vec::new(), before: None, readings: 1 }
    }

    /// Reads what is missing of the pages up to the last one, or to the longest list ever read. What is under way when
    /// one fails is waited for, and nothing more is asked; nor is it after a page that shows nothing but what others showed,
    /// lest a server that answers each page with the same one be asked for ever.
    async fn read<F>(&mut self, fetch: &impl Fn(usize) -> F, key: &impl Fn(&T) -> K) -> Result<(), Trouble>
    where
        F: Future<Output = Result<Page<T>, Trouble>>,
    {
        if self.pages.is_empty() {
            self.pages.push(Some(fetch(0).await?));
        }
        let hinted = self.pages.first().and_then(|first| first.as_ref()?.pages).unwrap_or(1);
        let hinted = hinted.clamp(self.pages.len(), MOST_PAGES);
        self.pages.resize_with(hinted, || None);
        let lacks: Vec<usize> = (0..hinted).filter(|&number| self.pages[number].is_none()).collect();
        let mut lacks = lacks.into_iter();
        let mut shown: HashSet<K> =
            self.pages.iter().flatten().flat_map(|page| page.items.iter().map(key)).collect();
        let mut repeats = |page: &Page<T>| {
            let known = shown.len();
            shown.extend(page.items.iter().map(key));
            !page.items.is_empty() && shown.len() == known
        };
        let mut repeated = false;
        let numbered = |number| async move { (number, fetch(number).await) };
        let mut under_way: FuturesUnordered<_> = lacks.by_ref().take(AT_ONCE).map(numbered).collect();
        let mut trouble = None;
        while let Some((number, page)) = under_way.next().await {
            match page {
                Ok(page) => {
                    repeated |= repeats(&page);
                    self.pages[number] = Some(page);
                }
                Err(why) => drop(trouble.get_or_insert(why)),
            }
            if trouble.is_none() && !repeated {
                under_way.extend(lacks.next().map(numbered));
            }
        }
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        // An empty page ends even a list that promises more: nothing is to be had beyond it.
        let more = |page: &Page<T>| page.more && !page.items.is_empty();
        while self.pages.last().is_some_and(|page| page.as_ref().is_some_and(more))
            && self.pages.len() < MOST_PAGES
            && !repeated
        {
            let page = fetch(self.pages.len()).await?;
            repeated = repeats(&page);
            self.pages.push(Some(page));
        }
        Ok(())
    }

    /// The items of all pages, or what says that they are not all.
    fn judge(&mut self, key: impl Fn(&T) -> K) -> Verdict<T, K> {
        let list: Vec<Page<T>> = std::mem::take(&mut self.pages).into_iter().flatten().collect();
        let pages = list.len();
        let totals: Vec<usize> = list.iter().filter_map(|page| page.total).collect();
        let again = |why, before, curable| Verdict::Again { why, before, curable };
        match list.iter().position(|page| !page.more) {
            None => {
                let why = format!("the list promises more after page {pages}, where nothing comes");
                return again(why, None, !totals.is_empty());
            }
            Some(end) if list.iter().skip(end + 1).any(|page| !page.items.is_empty()) => {
                let why = format!("page {} of {pages} said it was the last", end + 1);
                return again(why, None, !totals.is_empty());
            }
            Some(_) => {}
        }
        let items: Vec<T> = list.into_iter().flat_map(|page| page.items).collect();
        let ids: HashSet<K> = items.iter().map(key).collect();
        if ids.len() != items.len() {
            let twice = items.len() - ids.len();
            return again(format!("the list changes: {twice} of its items came twice"), None, true);
        }
        // While somebody writes, the total is another from page to page.
        let (least, most) = (totals.iter().min(), totals.iter().max());
        let agrees =
            least.is_none_or(|least| *least <= items.len()) && most.is_none_or(|most| items.len() <= *most);
        let wrong_total = if agrees { None } else { totals.last().copied() };
        match wrong_total {
            Some(total) if self.before.as_ref() != Some(&ids) => {
                again(format!("the list has {} items but says it has {total}", items.len()), Some(ids), true)
            }
            wrong_total => Verdict::Complete(List { items, began: self.began, wrong_total }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;
    use crate::model::{Lane, OrgId};

    fn page(items: &[u32], more: bool, pages: Option<usize>, total: Option<usize>) -> Page<u32> {
        Page { items: items.to_vec(), more, pages, total }
    }

    /// Reads a list whose every page answers these versions in turn, the last one again and again.
    async fn read_pages(versions: Vec<Vec<Page<u32>>>) -> (Result<Vec<u32>, String>, usize) {
        let asked = Mutex::new(vec![0_usize; versions.len()]);
        let requests = AtomicUsize::new(0);
        let fetch = |number: usize| {
            requests.fetch_add(1, Relaxed);
            let version = asked.lock().unwrap()[number];
            asked.lock().unwrap()[number] += 1;
            let page = versions[number].get(version).or(versions[number].last()).cloned();
            async move { page.ok_or_else(|| Trouble::new(Class::Transient, "down")) }
        };
        let asked = Asked { list: "list", attempt: "read", kept: None };
        let outcome = pages(&Shelf::default(), &asked, fetch, |item| *item).await;
        let outcome = outcome.map(|list| list.items).map_err(|trouble| trouble.message);
        (outcome, requests.into_inner())
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
    async fn a_list_in_which_an_id_comes_twice_is_read_again_and_in_the_end_refused() {
        let (first, second) = (page(&[1, 2], true, Some(2), None), page(&[2, 3], false, None, None));
        let shifted = vec![vec![first.clone()], vec![second.clone(), page(&[3], false, None, None)]];
        assert_eq!(read_pages(shifted).await, (Ok(vec![1, 2, 3]), 4));
        let (outcome, requests) = read_pages(vec![vec![first], vec![second]]).await;
        insta::assert_snapshot!(outcome.unwrap_err(), @"failed to read: the list changes: 1 of its items came twice");
        assert_eq!(requests, 2 * MOST_READINGS);
    }

    #[tokio::test]
    async fn a_server_that_answers_each_page_with_the_same_one_is_not_asked_for_ever() {
        for hint in [None, Some(9_000)] {
            let same = vec![vec![page(&[1, 2], true, hint, None)]; 9_000];
            let (outcome, requests) = read_pages(same).await;
            assert!(outcome.is_err(), "{outcome:?}");
            let most = MOST_READINGS * (AT_ONCE + 2);
            assert!(requests <= most, "{hint:?}: {requests} requests");
        }
    }

    #[tokio::test]
    async fn one_page_that_fails_fails_the_list() {
        let broken = vec![vec![page(&[1], true, Some(2), None)], vec![]];
        assert_eq!(read_pages(broken).await.0, Err("down".into()));
    }

    #[tokio::test]
    async fn a_list_that_contradicts_its_total_is_read_again_until_a_reading_agrees_with_it_or_the_one_before()
     {
        let healed = vec![vec![page(&[1], false, None, Some(2)), page(&[1, 2], false, None, Some(2))]];
        assert_eq!(read_pages(healed).await, (Ok(vec![1, 2]), 2));
        for wrong in [0, 2, 9] {
            let off = vec![vec![page(&[1], false, None, Some(wrong))]];
            assert_eq!(read_pages(off).await, (Ok(vec![1]), 2), "{wrong}");
        }
        let versions = |last: &[u32]| {
            let items: [&[u32]; 4] = [&[1], &[1, 2], &[2, 3], last];
            items.map(|items| page(items, false, None, Some(9))).to_vec()
        };
        assert_eq!(read_pages(vec![versions(&[3, 2])]).await, (Ok(vec![3, 2]), 4));
        let never = (1..=9).map(|item| page(&[item], false, None, Some(9))).collect();
        let (outcome, requests) = read_pages(vec![never]).await;
        insta::assert_snapshot!(outcome.unwrap_err(), @"failed to read: the list has 1 items but says it has 9");
        assert_eq!(requests, MOST_READINGS);
    }

    #[tokio::test]
    async fn a_total_that_changes_while_the_list_is_read_contradicts_nothing_in_between() {
        let first = page(&[1, 2], true, Some(2), Some(3));
        for last in [page(&[3], false, None, Some(4)), page(&[3, 4], false, None, Some(4))] {
            let (outcome, requests) = read_pages(vec![vec![first.clone()], vec![last]]).await;
            assert!(outcome.is_ok() && requests == 2, "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn a_wrong_total_is_told_to_whoever_would_act_on_what_the_list_lacks() {
        let asked = Asked { list: "list", attempt: "read", kept: None };
        let shelf = Shelf::default();
        let fetch = |_| async { Ok(page(&[1], false, None, Some(2))) };
        let list = pages(&shelf, &asked, fetch, |item| *item).await.unwrap();
        assert_eq!((list.items, list.wrong_total), (vec![1], Some(2)));
        assert!(!shelf.is_news("list"), "it was reported once");
    }

    /// Reads a list of this many pages, of which a window allows so many; answers the requests in each window.
    async fn in_windows(count: usize, window: usize, kept: Option<&str>) -> (Vec<usize>, Vec<u32>) {
        let (left, shelf) = (AtomicUsize::new(0), Shelf::default());
        let asked = Asked {
            list: "list",
            attempt: "read",
            kept: kept.map(|query| Kept { query: query.to_owned(), look: None }),
        };
        let fetch = |number: usize| {
            let may = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
            let items = [u32::try_from(number).unwrap()];
            async move {
                let limit = || Trouble::new(Class::Throttled, "used up");
                may.then(|| page(&items, number + 1 < count, Some(count), Some(count))).ok_or_else(limit)
            }
        };
        let mut requests = Vec::new();
        loop {
            left.store(window, Relaxed);
            let read = pages(&shelf, &asked, fetch, |item| *item).await;
            requests.push(window - left.load(Relaxed));
            match read {
                Ok(list) => return (requests, list.items),
                Err(_) if requests.len() < 9 => {}
                Err(_) => return (requests, Vec::new()),
            }
        }
    }

    #[tokio::test]
    async fn pages_that_were_read_stay_read_while_a_rate_limit_ends() {
        let all: Vec<u32> = (0..20).collect();
        assert_eq!(in_windows(20, 15, Some("all")).await, (vec![15, 5], all.clone()));
        assert_eq!(in_windows(20, 3, Some("all")).await, (vec![3, 3, 3, 3, 3, 3, 2], all));
        assert_eq!(in_windows(20, 15, None).await, (vec![15; 9], Vec::new()), "of a list that must be young");
    }

    #[tokio::test]
    async fn a_list_that_a_look_has_read_stays_read_until_the_look_is_over() {
        let lane = Lane::Org(OrgId(1));
        let (shelf, requests) = (Shelf::default(), AtomicUsize::new(0));
        let fetch = |_| {
            requests.fetch_add(1, Relaxed);
            async { Ok(page(&[1], false, None, None)) }
        };
        for (look, expected) in [(None, 2), (Some(lane), 1)] {
            let kept = Some(Kept { query: "all".to_owned(), look });
            let asked = Asked { list: "list", attempt: "read", kept };
            for _ in 0..2 {
                assert_eq!(pages(&shelf, &asked, fetch, |item| *item).await.unwrap().items, [1]);
            }
            assert_eq!(requests.swap(0, Relaxed), expected);
            shelf.forget_look(lane);
        }
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
