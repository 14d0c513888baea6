//! HTTP/2 as a client meets it, on the session alone: what RFC 9113 demands, and attacks.

#![allow(dead_code, reason = "no test uses all of the peer")]

#[path = "../common/h2.rs"]
mod h2;
#[path = "../http/support/sample.rs"]
mod sample;
mod talk;

mod attacks;
mod basics;
mod calm;
mod conformance;
mod entry;
mod floods;
mod fuzz;
mod keeps;
mod windows;
