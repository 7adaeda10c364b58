//! When nobody knows, it is in use.

use super::*;

const STALE: Duration = Duration::from_secs(15);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn idle(seconds: u64) -> Report {
    Report { idle: secs(seconds), ..Report::default() }
}

fn planes(said: &[(&str, u64, Option<Report>)]) -> Planes {
    let mut planes = Planes::default();
    for (name, at, report) in said {
        planes.attach((*name).into());
        planes.report(name, secs(*at), *report);
    }
    planes
}

#[test]
fn without_a_word_from_every_known_plane_it_is_in_use() {
    let usage = |planes: &Planes, now| planes.usage(secs(now), STALE, false);
    assert_eq!(usage(&Planes::default(), 100), Usage::Unknown(Doubt::NoPlane));
    let mut two = planes(&[("a", 90, Some(idle(60))), ("b", 95, None)]);
    assert_eq!(usage(&two, 100), Usage::Unknown(Doubt::Silent("b".into())));
    two.report("b", secs(96), Some(idle(50)));
    assert_eq!(usage(&two, 100), Usage::Idle(secs(46)), "the latest counts");
    assert_eq!(usage(&two, 105), Usage::Unknown(Doubt::Silent("a".into())), "stale");
    two.away("a".into());
    assert_eq!(usage(&two, 100), Usage::Unknown(Doubt::Away("a".into())));
    two.attach("a".into());
    assert_eq!(usage(&two, 100), Usage::Unknown(Doubt::Silent("a".into())), "an older link is void");
    two.forget("a");
    assert_eq!(usage(&two, 100), Usage::Idle(secs(46)));
}

#[test]
fn whatever_is_open_or_held_is_use() {
    let busy = |report: Report, under_keepalives| {
        planes(&[("a", 90, Some(report))]).usage(secs(91), STALE, under_keepalives)
    };
    let silent = Report { open_connections: 1, ..idle(80) };
    assert_eq!(busy(silent, false), Usage::InUse(1));
    assert_eq!(busy(silent, true), Usage::Idle(secs(10)), "it only keeps itself alive");
    assert_eq!(busy(Report { idle: secs(0), ..silent }, true), Usage::InUse(1));
    assert_eq!(busy(Report { open_requests: 2, ..idle(80) }, true), Usage::InUse(2));
    assert_eq!(busy(Report { parked: 3, ..idle(80) }, true), Usage::InUse(3));
}

#[test]
fn a_fence_is_closed_by_every_known_plane_and_broken_by_any() {
    let mut two = planes(&[("a", 90, Some(idle(60))), ("b", 90, Some(idle(60)))]);
    let stands = |planes: &Planes| planes.fence(7, secs(30), false);
    two.fenced("a", 7, idle(61));
    assert_eq!(stands(&two), Fence::Closing);
    two.fenced("b", 6, idle(61));
    assert_eq!(stands(&two), Fence::Closing, "an answer to an older fence");
    two.fenced("b", 7, idle(61));
    assert_eq!(stands(&two), Fence::Closed);
    for broken in [idle(29), Report { parked: 1, ..idle(61) }, Report { open_connections: 1, ..idle(61) }] {
        two.fenced("b", 7, broken);
        assert_eq!(stands(&two), Fence::Broken, "{broken:?}");
    }
    two.fenced("b", 7, idle(61));
    two.attach("c".into());
    assert_eq!(stands(&two), Fence::Closing, "who comes later is asked too");
    two.away("c".into());
    assert_eq!(stands(&two), Fence::Broken);
    assert_eq!(Planes::default().fence(7, secs(30), false), Fence::Broken);
}
