//! What a 404 means depends on what was asked for.

use crate::model::{Answer, Class, Trouble};

/// The answer to a question about one thing by its name or id: a 404 of the upstream itself says that it does not exist.
pub fn one<T>(result: Result<T, Trouble>) -> Answer<T> {
    match result {
        Err(trouble) if trouble.status == Some(404) && trouble.class != Class::Transient => Answer::Absent,
        other => many(other),
    }
}

/// The answer to a question about what always exists, such as a collection: it is never absent.
pub fn many<T>(result: Result<T, Trouble>) -> Answer<T> {
    result.map_or_else(Answer::from_trouble, Answer::Present)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, class: Class) -> Result<(), Trouble> {
        Err(Trouble { status: Some(status), ..Trouble::new(class, "no") })
    }

    #[test]
    fn a_404_is_absence_of_one_thing_but_never_of_a_collection() {
        assert_eq!(one(refused(404, Class::Permanent)), Answer::Absent);
        assert!(matches!(one(refused(404, Class::Transient)), Answer::Failed(_)), "of something between");
        assert!(matches!(many(refused(404, Class::Auth)), Answer::Forbidden(_)));
    }

    #[test]
    fn a_refusal_and_a_failure_are_never_absence() {
        assert!(matches!(one(refused(403, Class::Auth)), Answer::Forbidden(_)));
        assert!(matches!(one(refused(500, Class::Transient)), Answer::Failed(_)));
        assert!(matches!(many(refused(429, Class::Throttled)), Answer::Failed(_)));
        assert!(matches!(one(refused(410, Class::Permanent)), Answer::Failed(_)));
    }
}
