//! What a 404 means depends on what was asked for.

use crate::model::{Answer, Class, Trouble};

/// The answer to a question about one thing by its name or id: a 404 says that it does not exist.
pub fn one<T>(result: Result<T, Trouble>) -> Answer<T> {
    match result {
        Ok(value) => Answer::Present(value),
        Err(trouble) if trouble.status == Some(404) => Answer::Absent,
        Err(trouble) => Answer::from_trouble(trouble),
    }
}

/// The answer to a question about a collection: a 404 says that the credential may not see it (both upstreams
/// hide so what is not granted, and previews that are off), never that it is empty.
pub fn many<T>(result: Result<T, Trouble>) -> Answer<T> {
    match result.map_err(ungranted) {
        Ok(value) => Answer::Present(value),
        Err(trouble) => Answer::from_trouble(trouble),
    }
}

/// The same for those who handle the trouble themselves: a 404 becomes a matter of access.
pub fn ungranted(mut trouble: Trouble) -> Trouble {
    if trouble.status == Some(404) {
        trouble.class = Class::Auth;
    }
    trouble
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, class: Class) -> Result<(), Trouble> {
        Err(Trouble { status: Some(status), ..Trouble::new(class, "no") })
    }

    #[test]
    fn a_404_is_absence_of_one_thing_but_only_a_closed_door_on_a_collection() {
        assert_eq!(one(refused(404, Class::Permanent)), Answer::Absent);
        let Answer::Forbidden(trouble) = many(refused(404, Class::Permanent)) else {
            panic!("not forbidden")
        };
        assert_eq!((trouble.class, trouble.status), (Class::Auth, Some(404)));
    }

    #[test]
    fn a_refusal_and_a_failure_are_never_absence() {
        assert!(matches!(one(refused(403, Class::Auth)), Answer::Forbidden(_)));
        assert!(matches!(one(refused(500, Class::Transient)), Answer::Failed(_)));
        assert!(matches!(many(refused(429, Class::Throttled)), Answer::Failed(_)));
        assert!(matches!(one(refused(410, Class::Permanent)), Answer::Failed(_)));
    }
}
