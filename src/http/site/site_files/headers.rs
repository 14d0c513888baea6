//! `_headers`: blocks of a path and the fields of its responses: `Name: value`, and for Cloudflare
//! also `! Name`.

use super::super::rewrites::PathPattern;
use super::super::rules::{HeaderBlock, check_site_field};
use super::{HostingService, LeftOut, lines};

/// The blocks of a file, and what is left out.
#[must_use]
pub fn parse_headers(text: &str, service: HostingService) -> (Vec<HeaderBlock>, Vec<LeftOut>) {
    let (mut blocks, mut left_out) = (Vec::<HeaderBlock>::new(), Vec::new());
    // Whether fields belong to the last block; those of a block that is left out belong to none.
    let mut place = BlockPlace::None;
    for (number, line) in lines(text) {
        let content = line.trim();
        if content.starts_with('/') || is_url(content) {
            match block(number, content) {
                Ok(block) => {
                    blocks.push(block);
                    place = BlockPlace::Last;
                }
                Err(why) => {
                    left_out.push(LeftOut::new(number, line, why));
                    place = BlockPlace::LeftOut;
                }
            }
            continue;
        }
        let last = blocks.last_mut().filter(|_| place == BlockPlace::Last);
        match (field(content, service), last, place) {
            (Err(why), ..) => left_out.push(LeftOut::new(number, line, why)),
            (Ok(field), Some(block), _) => match uses_name(&field, &block.path) {
                Some(name) => {
                    let why = format!(
                        "ringd does not replace {name} in a value; write the value in full"
                    );
                    left_out.push(LeftOut::new(number, line, why));
                }
                // A block first removes what those before it have set, whatever its order is.
                None if field.1.is_none() => block.fields.insert(0, field),
                None => block.fields.push(field),
            },
            // The block has been reported.
            (Ok(_), None, BlockPlace::LeftOut) => {}
            (Ok(_), None, _) => {
                let why = "there is no path before it; write one, as in /*";
                left_out.push(LeftOut::new(number, line, why));
            }
        }
    }
    blocks.retain(|block| !block.fields.is_empty());
    (blocks, left_out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockPlace {
    None,
    Last,
    LeftOut,
}

fn block(line: usize, path: &str) -> Result<HeaderBlock, String> {
    if is_url(path) {
        return Err("fields are those of one site; write the path alone".to_owned());
    }
    let pattern = PathPattern::parse(path)
        .map_err(|error| error.to_string().replace("`from`", "the path"))?;
    Ok(HeaderBlock { line, path: path.to_owned(), pattern, fields: Vec::new() })
}

/// A field with its value; without one, it is removed.
fn field(line: &str, service: HostingService) -> Result<(String, Option<String>), String> {
    if let Some(name) = line.strip_prefix('!') {
        if service == HostingService::Netlify {
            return Err("! belongs to Cloudflare; leave the field out where it is set".to_owned());
        }
        let name = name
            .strip_prefix(' ')
            .ok_or_else(|| format!("there is no space after the !; write ! {name}"))?
            .trim();
        check_site_field(name, "").map_err(|error| error.to_string())?;
        return Ok((name.to_owned(), None));
    }
    let (name, value) =
        line.split_once(':').ok_or("there is no colon after the name; write Name: value")?;
    let (name, value) = (name.trim(), value.trim());
    if value.is_empty() {
        return Err(match service {
            HostingService::Netlify => format!("{name} has no value; leave it out"),
            HostingService::Cloudflare => {
                format!("{name} has no value; write ! {name} to remove it")
            }
        });
    }
    check_site_field(name, value).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), Some(value.to_owned())))
}

/// The placeholder of the path that a value uses.
fn uses_name(field: &(String, Option<String>), path: &str) -> Option<String> {
    let value = field.1.as_deref()?;
    let names = path.split('/').filter_map(|segment| match segment {
        "*" => Some(":splat"),
        segment if segment.starts_with(':') => Some(segment),
        _ => None,
    });
    names.into_iter().find(|name| value.contains(*name)).map(str::to_owned)
}

fn is_url(word: &str) -> bool {
    let starts = |scheme: &str| {
        word.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    starts("http://") || starts("https://")
}
