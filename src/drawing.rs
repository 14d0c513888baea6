//! What the pictures of `ringd bench` and of `ringd tour` have in common: the frame, and text.
//!
//! Each picture has a style of its own, with the classes `paper` and `title`.

use svg::Document;
use svg::node::element::{Rectangle, Style, Text, Title};

/// An empty picture with its ground. Programs that read the screen aloud read its title.
pub(crate) fn picture(title: &str, style: &str, (width, height): (f64, f64)) -> Document {
    let ground = Rectangle::new().set("class", "paper").set("width", width).set("height", height);
    Document::new()
        .set("viewBox", (0.0, 0.0, width, height))
        .set("width", width)
        .set("height", height)
        .set("role", "img")
        .add(Title::new(title))
        .add(Style::new(style))
        .add(ground)
}

/// A text that begins at `x`.
pub(crate) fn text(x: f64, y: f64, class: &str, content: &str) -> Text {
    Text::new(content).set("x", x).set("y", y).set("class", class)
}

/// A text that ends at `x`.
pub(crate) fn text_before(x: f64, y: f64, class: &str, content: &str) -> Text {
    text(x, y, class, content).set("text-anchor", "end")
}
