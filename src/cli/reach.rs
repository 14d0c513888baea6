//! How a browser reaches the server: the addresses in the start line, `--open` and `--qr`.

use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;

use anstyle::{AnsiColor, Style};
use clap::Args;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::console::Console;
use crate::server::Endpoint;

/// How many addresses of the machine stand for one that means all of them.
const SHOWN_MAX: usize = 8;

/// Options for the first look at a site. They are for one run, so a file cannot have them.
#[derive(Clone, Copy, Default, Debug, Args)]
pub struct ReachArgs {
    /// Open the site in a browser
    #[arg(long, hide_short_help = true)]
    pub open: bool,

    /// Show the address as a QR code, for a phone in the same network
    ///
    /// Standard output must be a terminal, and the address one that other machines reach, as with
    /// --listen :7890
    #[arg(long, hide_short_help = true)]
    pub qr: bool,
}

/// An address as the start line shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Shown {
    text: String,
    /// `None` for a Unix socket, which browsers cannot open.
    ip: Option<IpAddr>,
}

/// The addresses of a server.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    shown: Vec<Shown>,
    wanted: ReachArgs,
}

impl Reach {
    /// The addresses that a server listens on, and whether each is secure. For one that means all
    /// addresses, those of this machine.
    pub(super) fn of(
        endpoints: &[Endpoint],
        secure: impl IntoIterator<Item = bool>,
        wanted: ReachArgs,
    ) -> Self {
        let is_any = |endpoint: &Endpoint| {
            endpoint.socket_addr().is_some_and(|address| address.ip().is_unspecified())
        };
        let machine = if endpoints.iter().any(is_any) { addresses_here() } else { Vec::new() };
        let mut shown = Vec::new();
        for (endpoint, is_secure) in endpoints.iter().zip(secure) {
            let scheme = if is_secure { "https" } else { "http" };
            let addresses = openable(endpoint, &machine);
            if addresses.is_empty() {
                shown.push(Shown { text: endpoint.to_string(), ip: None });
            }
            shown.extend(addresses.into_iter().map(|address| Shown {
                text: format!("{scheme}://{address}/"),
                ip: Some(address.ip()),
            }));
        }
        Self { shown, wanted }
    }

    /// The addresses for the start line, each after a blank.
    pub(super) fn list(&self) -> String {
        self.shown.iter().map(|shown| format!(" {}", shown.text)).collect()
    }

    /// Does what `--open` and `--qr` ask for. A failure is told; the server runs on.
    pub(super) fn show(&self, console: &Console) {
        if self.wanted.qr {
            match self.code(io::stdout().is_terminal()) {
                Ok(code) => console.say(&code),
                Err(why) => console.note(why),
            }
        }
        if self.wanted.open {
            match self.shown.iter().find(|shown| shown.ip.is_some()) {
                Some(shown) => open_browser(shown.text.clone(), console),
                None => console.note(
                    "--open: the server listens on Unix sockets only, which browsers cannot open; \
                     add an address with --listen",
                ),
            }
        }
    }

    /// The code of the first address that other machines reach, or why there is none.
    fn code(&self, is_terminal: bool) -> Result<String, String> {
        if !is_terminal {
            return Err("--qr: standard output is no terminal, so no code is shown".to_owned());
        }
        // The address that means all of them is shown if those of the machine are not known.
        let is_far = |ip: IpAddr| !ip.is_loopback() && !ip.is_unspecified();
        let is_far = |shown: &&Shown| shown.ip.is_some_and(is_far);
        let shown = self.shown.iter().find(is_far).ok_or_else(|| self.why_no_far())?;
        let code = QrCode::new(&shown.text).map_err(|error| format!("--qr: {error}"))?;
        Ok(format!("{}{}\n", drawn(&code), shown.text))
    }

    /// Why no address is known that other machines reach.
    fn why_no_far(&self) -> &'static str {
        match self.shown.iter().any(|shown| shown.ip.is_some_and(|ip| ip.is_unspecified())) {
            true => {
                "--qr: a sandbox hides the addresses of this machine, so no code is shown; name \
                 one of them with --listen"
            }
            false => {
                "--qr: other machines cannot reach the addresses of this server, so no code is \
                 shown; use --listen :7890, or an address of your network"
            }
        }
    }
}

/// A code in black on white, whatever the colours of the terminal are: not all readers take a code
/// with its colours reversed.
fn drawn(code: &QrCode) -> String {
    let colours = Style::new()
        .fg_color(Some(AnsiColor::Black.into()))
        .bg_color(Some(AnsiColor::BrightWhite.into()));
    let text = code.render::<Dense1x2>().build();
    text.lines().map(|line| format!("{colours}{line}{colours:#}\n")).collect()
}

/// The addresses that a browser can open for an endpoint; none for a Unix socket. `machine` has the
/// addresses of this machine.
fn openable(endpoint: &Endpoint, machine: &[IpAddr]) -> Vec<SocketAddr> {
    let Some(address) = endpoint.socket_addr() else { return Vec::new() };
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let takes_four = address.is_ipv4() || matches!(endpoint, Endpoint::BothFamilies(_));
    let takes = |ip: &IpAddr| if ip.is_ipv4() { takes_four } else { address.is_ipv6() };
    let own = machine.iter().copied().filter(takes).take(SHOWN_MAX);
    let own: Vec<_> = own.map(|ip| SocketAddr::new(ip, address.port())).collect();
    if own.is_empty() { vec![address] } else { own }
}

/// The addresses of the interfaces that are up: loopback first, then IPv4, each once. No link-local
/// ones of IPv6, because browsers cannot open addresses with an interface. Empty if the kernel
/// does not tell.
fn addresses_here() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let up = interfaces.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP));
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
    };
    in_order(up.filter_map(address))
}

fn in_order(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let is_shown = |ip: &IpAddr| match ip {
        IpAddr::V4(four) => !four.is_loopback() || *four == Ipv4Addr::LOCALHOST,
        IpAddr::V6(six) => !six.is_unicast_link_local() && *six != Ipv6Addr::UNSPECIFIED,
    };
    let mut addresses: Vec<_> = addresses.filter(is_shown).collect();
    addresses.sort_by_key(|ip| (!ip.is_loopback(), ip.is_ipv6()));
    addresses.dedup();
    addresses
}

/// Starts the browser of the user, in a thread: the program that finds it may run as long as the
/// browser does.
fn open_browser(url: String, console: &Console) {
    let its_console = console.clone();
    let started = thread::Builder::new().name("browser".into()).spawn(move || {
        if let Err(error) = start_browser(&url) {
            its_console.note(format_args!(
                "--open: no browser could be started ({error}); install xdg-utils and a browser, \
                 or open {url} yourself"
            ));
        }
    });
    if let Err(error) = started {
        console.note(format_args!("--open: no thread could be started: {error}"));
    }
}

/// Tries the programs that a desktop has for this. They get a process group of their own, or the
/// Ctrl-C that ends the server would end the browser as well.
fn start_browser(url: &str) -> io::Result<()> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for mut command in open::commands(url) {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.process_group(0).status() {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => {
                let program = command.get_program().to_string_lossy().into_owned();
                failure = io::Error::other(format!("{program}: {status}"));
            }
            // Another program may be there; its failure says more than that this one is not.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(endpoint: Endpoint, machine: &[&str]) -> Vec<String> {
        openable(&endpoint, &ips(machine)).iter().map(ToString::to_string).collect()
    }

    const MACHINE: [&str; 4] = ["127.0.0.1", "::1", "192.0.2.7", "2001:db8::7"];

    #[test]
    fn all_addresses_are_shown_as_those_of_the_machine() {
        let any = |text: &str| Endpoint::Tcp(text.parse().unwrap());
        assert_eq!(shown(any("0.0.0.0:80"), &MACHINE), ["127.0.0.1:80", "192.0.2.7:80"]);
        assert_eq!(shown(any("[::]:80"), &MACHINE), ["[::1]:80", "[2001:db8::7]:80"]);
        assert_eq!(shown(Endpoint::BothFamilies(80), &MACHINE).len(), 4);
        assert_eq!(shown(any("192.0.2.9:80"), &MACHINE), ["192.0.2.9:80"]);
        assert_eq!(shown(any("0.0.0.0:80"), &[]), ["0.0.0.0:80"]);
        let many: Vec<_> = (0..100).map(|last| format!("192.0.2.{last}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(shown(any("0.0.0.0:80"), &many).len(), SHOWN_MAX);
    }

    #[test]
    fn loopback_is_first_and_what_browsers_cannot_open_is_left_out() {
        let found = ips(&["2001:db8::7", "192.0.2.7", "fe80::1", "::1", "127.0.0.2", "127.0.0.1"]);
        let ordered = in_order(found.into_iter());
        assert_eq!(ordered, ips(&["127.0.0.1", "::1", "192.0.2.7", "2001:db8::7"]));
    }

    fn reach(addresses: &[&str]) -> Reach {
        let endpoints: Vec<_> =
            addresses.iter().map(|text| Endpoint::Tcp(text.parse().unwrap())).collect();
        Reach::of(&endpoints, [false, true], ReachArgs::default())
    }

    #[test]
    fn a_code_leads_to_an_address_that_others_reach() {
        let code = reach(&["127.0.0.1:80", "192.0.2.7:443"]).code(true).unwrap();
        let lines: Vec<_> = code.lines().collect();
        assert_eq!(lines.last(), Some(&"https://192.0.2.7:443/"));
        // A square: each line of text has two rows of the code.
        let width = lines[0].chars().filter(|char| " ▀▄█".contains(*char)).count();
        assert_eq!(width.div_ceil(2), lines.len() - 1, "{code}");
        let near = reach(&["127.0.0.1:80"]).code(true).unwrap_err();
        assert!(near.contains("--listen :7890"), "{near}");
        // The kernel does not tell the addresses of the machine.
        let unknown = openable(&Endpoint::BothFamilies(7890), &[]);
        let unknown = unknown.iter().map(|it| Shown { text: it.to_string(), ip: Some(it.ip()) });
        let unknown = Reach { shown: unknown.collect(), wanted: ReachArgs::default() };
        assert_eq!(unknown.list(), " [::]:7890");
        let hidden = unknown.code(true).unwrap_err();
        assert!(hidden.contains("a sandbox hides") && hidden != near, "{hidden}");
        let piped = reach(&["192.0.2.7:80"]).code(false).unwrap_err();
        assert!(piped.contains("no terminal"), "{piped}");
    }
}
