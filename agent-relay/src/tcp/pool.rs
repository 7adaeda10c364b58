//! Pure. Which server of several gets the next connection: in turn by weight, and none that is down or out of service.

/// What an operator wants of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Admin {
    /// It serves.
    #[default]
    Ready,
    /// It keeps what it has and gets nothing new.
    Drain,
    /// It is out of service.
    Maint,
}

impl Admin {
    /// The word of HAProxy's commands.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "ready" => Some(Self::Ready),
            "drain" => Some(Self::Drain),
            "maint" => Some(Self::Maint),
            _ => None,
        }
    }
}

/// What is known of one server.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) weight: u32,
    pub(crate) admin: Admin,
    pub(crate) is_up: bool,
    /// Checks in a row that say otherwise.
    doubts: u32,
    /// What the smooth turns have it at.
    credit: i64,
}

impl Member {
    pub(crate) fn new(weight: u32) -> Self {
        Self { weight, admin: Admin::Ready, is_up: true, doubts: 0, credit: 0 }
    }

    fn serves(&self) -> bool {
        self.is_up && self.admin == Admin::Ready && self.weight > 0
    }

    /// A check ended; returns whether it went down or came back with that.
    pub(crate) fn checked(&mut self, works: bool, fall: u32, rise: u32) -> bool {
        if works == self.is_up {
            self.doubts = 0;
            return false;
        }
        self.doubts += 1;
        let turns = self.doubts >= if works { rise } else { fall };
        if turns {
            self.is_up = works;
            self.doubts = 0;
        }
        turns
    }

    /// The word of HAProxy's statistics.
    pub(crate) fn status(&self) -> &'static str {
        match (self.admin, self.is_up) {
            (Admin::Maint, _) => "MAINT",
            (Admin::Drain, _) => "DRAIN",
            (Admin::Ready, true) => "UP",
            (Admin::Ready, false) => "DOWN",
        }
    }
}

/// The next server, by smooth weighted turns; not `but`, if there is another.
pub(crate) fn next(members: &mut [Member], but: Option<usize>) -> Option<usize> {
    let others = |index: usize, member: &Member| member.serves() && Some(index) != but;
    let has_others = members.iter().enumerate().any(|(index, member)| others(index, member));
    let mut best: Option<(i64, usize)> = None;
    let mut sum = 0;
    for (index, member) in members.iter_mut().enumerate() {
        let serves = if has_others { member.serves() && Some(index) != but } else { member.serves() };
        if !serves {
            continue;
        }
        sum += i64::from(member.weight);
        member.credit += i64::from(member.weight);
        if best.is_none_or(|(credit, _)| member.credit > credit) {
            best = Some((member.credit, index));
        }
    }
    let (_, index) = best?;
    if let Some(member) = members.get_mut(index) {
        member.credit -= sum;
    }
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept_in_smooth_turns_and_who_is_down_is_left_out() {
        let mut members = [5, 1, 1, 0].map(Member::new).to_vec();
        let turns: Vec<_> = (0..7).map(|_| next(&mut members, None).unwrap()).collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
        members[0].admin = Admin::Drain;
        members[1].is_up = false;
        assert_eq!((0..3).map(|_| next(&mut members, None)).collect::<Vec<_>>(), [Some(2); 3]);
        assert_eq!(next(&mut members, Some(2)), Some(2), "the only one is better than none");
        members[1].is_up = true;
        assert_eq!(next(&mut members, Some(2)), Some(1));
        members.iter_mut().for_each(|member| member.admin = Admin::Maint);
        assert_eq!(next(&mut members, None), None);
    }

    #[test]
    fn so_many_checks_in_a_row_change_what_is_thought_of_a_server() {
        let mut member = Member::new(1);
        let checks = [false, false, true, false, false, false, true, false, true, true];
        let changes: Vec<_> = checks.iter().map(|works| member.checked(*works, 3, 2)).collect();
        assert_eq!(changes, [false, false, false, false, false, true, false, false, false, true]);
        assert_eq!(member.status(), "UP");
    }
}
