//! Numbers of listeners, and plans that are outdated.

use super::*;

/// Otherwise a site would be reached from a listener that it does not name.
#[test]
fn numbers_of_listeners_are_not_shared() {
    let place: ListenSpec = "127.0.0.1:0".parse().unwrap();
    let other: ListenSpec = "127.0.0.2:0".parse().unwrap();
    let bind = |listening: &mut Listening, places: &[&ListenSpec]| {
        let places: Vec<_> =
            places.iter().map(|place| (*place, place.resolve().unwrap())).collect();
        let plan = listening.plan(&places).unwrap();
        let bound = listening.bind(&plan).unwrap();
        listening.apply(&plan, bound);
        plan.numbers
    };
    let mut listening = Listening::new(1, 8, PassedSockets::default());
    assert_eq!(bind(&mut listening, &[&place]), [0]);
    // All numbers but that one were used meanwhile.
    listening.next = u32::MAX;
    assert_eq!(bind(&mut listening, &[&place, &other, &other]), [0, u32::MAX, 1]);
    assert_eq!(listening.open.len(), 3);
    assert_eq!(bind(&mut listening, &[&other]), [u32::MAX]);
    assert_eq!(listening.open.len(), 1);
}

/// What was planned before another change was applied may contradict it.
#[test]
fn an_outdated_plan_is_noticed() {
    let places: Vec<ListenSpec> =
        ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().unwrap()).into();
    let mut listening = Listening::new(1, 8, PassedSockets::default());
    let plans: Vec<_> = places
        .iter()
        .map(|place| listening.plan(&[(place, place.resolve().unwrap())]).unwrap())
        .collect();
    assert!(plans.iter().all(|plan| listening.is_current(plan)));
    let bound = listening.bind(&plans[0]).unwrap();
    listening.apply(&plans[0], bound);
    assert!(!listening.is_current(&plans[1]));
    let plan = |listening: &mut Listening| {
        listening.plan(&[(&places[0], places[0].resolve().unwrap())]).unwrap()
    };
    // While an update is under way, a plan may know a listener that is then forgotten.
    let known = plan(&mut listening);
    listening.set_changing(true);
    assert!(!listening.is_current(&known));
    listening.set_changing(false);
    assert!(listening.is_current(&known));
    listening.forget(&known.numbers);
    assert!(!listening.is_current(&known));
}
