//! The rows of an organisation by their teams: a list in order, since a map of lists takes many times its memory where
//! nearly every team has one row.

use crate::model::{Owned, TeamId};

/// Rows in the order of their teams, those of a team in the order of their keys.
pub(super) struct RowsByTeam<'a>(Vec<&'a Owned>);

impl<'a> RowsByTeam<'a> {
    pub(super) fn new(rows: impl IntoIterator<Item = &'a Owned>) -> Self {
        let mut rows: Vec<&Owned> = rows.into_iter().collect();
        rows.sort_unstable_by(|a, b| (a.team, &a.key).cmp(&(b.team, &b.key)));
        Self(rows)
    }

    /// Those of this team.
    pub(super) fn of(&self, team: TeamId) -> &[&'a Owned] {
        let from = self.0.partition_point(|row| row.team < team);
        let count = self.0[from..].partition_point(|row| row.team == team);
        &self.0[from..from + count]
    }
}
