//! `ringd tour`, as its users see it.

use crate::process::{kinds, ringd};

#[test]
fn the_tour_shows_every_driver_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("tour.svg");
    let mut command = ringd();
    command.args(["tour", "--width", "120", "--svg"]).arg(&picture);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let drawn = std::fs::read_to_string(&picture).unwrap();
    for kind in kinds() {
        assert!(text.contains(kind.name()), "{kind} is missing in\n{text}");
        assert!(drawn.contains(&format!("\n{kind}\n")), "{kind} is missing in the picture");
    }
    assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"));
}

#[test]
fn mistakes_are_explained() {
    let output = ringd().args(["tour", "--width", "79"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = ringd().args(["tour", "--svg", "/nonexistent/tour.svg"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("cannot write /nonexistent/tour.svg: No such file"), "{errors}");
    let output = ringd().arg("tour").env("TMPDIR", "/nonexistent").output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("check TMPDIR"), "{errors}");
}
