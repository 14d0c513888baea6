//! Certificates and keys that are well made, and the sentences about those that are not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use super::*;
use crate::tls::made::{Authority, DAY, Folder, KeyKind, key, parameters, set_times};

/// The message of the pair in these files, in which the folder is called `DIR`.
fn error(folder: &Folder, certificate: &str, key: &str) -> String {
    let path = |name: &str| folder.path().join(name);
    let error = Certificate::load(&path(certificate), &path(key)).unwrap_err();
    error.to_string().replace(folder.path().to_str().unwrap(), "DIR")
}

#[test]
fn what_is_known_of_a_certificate() {
    let (root, folder) = (Authority::root("Root"), Folder::new());
    let between = root.intermediate("Between");
    let key = key(KeyKind::P256);
    let names = ["Example.com", "*.example.com", "192.0.2.1", "2001:db8::1"];
    let leaf = between.issue(&parameters("leaf", &names), &key);
    let chain = folder.write("chain.pem", [leaf, between.pem, root.pem].concat());
    let key = folder.write("key.pem", key.serialize_pem());
    let loaded = Certificate::load(&chain, &key).unwrap();
    assert_eq!(loaded.dns_names(), ["example.com", "*.example.com"]);
    let addresses: Vec<String> = loaded.addresses().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(loaded.not_after().duration_since(loaded.not_before()).unwrap(), DAY * 90);
    assert!(loaded.not_before() < SystemTime::now());
    assert_eq!(loaded.fingerprint().len(), 32 * 3 - 1);
    assert_eq!(loaded.certified_key().cert.len(), 3);
    assert_eq!((loaded.certificate_path(), loaded.key_path()), (Some(&*chain), Some(&*key)));
    assert_eq!(loaded.notes(SystemTime::now()), [""; 0]);
}

#[test]
fn kinds_of_keys_have_names() {
    for (kind, name) in [
        (KeyKind::P256, "ECDSA P-256"),
        (KeyKind::P384, "ECDSA P-384"),
        (KeyKind::Ed25519, "Ed25519"),
        (KeyKind::Rsa, "RSA 2048"),
    ] {
        assert_eq!(crate::tls::made::certificate(&["a"], kind).key_kind(), name);
    }
}

#[test]
fn fingerprints_are_those_of_sha_256() {
    let empty = "E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:A4:95:99:\
                 1B:78:52:B8:55";
    assert_eq!(fingerprint(b""), empty);
}

#[test]
fn names_are_those_of_the_certificate_alone() {
    let names = ["example.com", "*.example.org", "192.0.2.1", "2001:db8::1"];
    let certificate = crate::tls::made::certificate(&names, KeyKind::P256);
    for (host, is_valid) in [
        ("example.com", true),
        ("EXAMPLE.com.", true),
        ("www.example.com", false),
        ("www.example.org", true),
        ("example.org", false),
        ("a.b.example.org", false),
        (".example.org", false),
        ("*.example.org", true),
        ("*.example.com", false),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("[2001:DB8::1]", true),
        ("2001:db8::1", true),
        ("", false),
    ] {
        assert_eq!(certificate.is_valid_for(host), is_valid, "{host:?}");
    }
}

#[test]
fn files_that_are_no_files_are_explained() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("directory")).unwrap();
    folder.write("large", vec![b'\n'; 1024 * 1024 + 1]);
    std::os::unix::fs::symlink("/dev/null", folder.path().join("device")).unwrap();
    for (name, sentence) in [
        ("missing", "cannot read DIR/missing: No such file or directory (os error 2); correct"),
        ("directory", "DIR/directory is a directory; name the file"),
        ("device", "DIR/device is not a regular file"),
        ("large", "DIR/large is larger than 1048576 bytes"),
    ] {
        let error = error(&folder, name, name);
        assert!(error.starts_with(sentence), "{name}: {error}");
    }
    // The superuser may read everything.
    let locked = folder.write("locked", "");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&locked).is_err() {
        let error = error(&folder, "locked", "locked");
        assert!(error.contains("let the user of the server read the file"), "{error}");
    }
}

#[test]
fn what_is_missing_in_a_file_is_named() {
    let (root, folder) = (Authority::root("Root"), Folder::new());
    let (key, other) = (key(KeyKind::P256), key(KeyKind::P256));
    let leaf = root.issue(&parameters("leaf", &["a.example"]), &key);
    let (key, other) = (key.serialize_pem(), other.serialize_pem());
    folder.write("leaf", &leaf);
    folder.write("key", &key);
    folder.write("other", &other);
    folder.write("two", [&*key, &*other].concat());
    folder.write("empty", "");
    folder.write("text", "certificate");
    folder.write("der", [0x30, 0x82, 0xff, 0]);
    folder
        .write("request", "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----");
    folder.write("encrypted", key.replace("PRIVATE", "ENCRYPTED PRIVATE"));
    let header = "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n";
    let old = key.replace("PRIVATE", "RSA PRIVATE").replacen("KEY-----\n", header, 1);
    folder.write("old", old.replace('\n', "\r\n"));
    folder.write("cut", &leaf[..leaf.len() / 2]);
    folder.write("no-key", key.replace("M", "N"));
    folder.write("no-leaf", leaf.replacen("MII", "NII", 1));
    for (certificate, key, sentence) in [
        ("key", "key", "no certificate is in DIR/key: it has only PRIVATE KEY; name the file"),
        ("empty", "key", "no certificate is in DIR/empty: it is empty; name the file"),
        ("text", "key", "no certificate is in DIR/text: it has no PEM blocks; name the file"),
        ("request", "key", "no certificate is in DIR/request: it has only CERTIFICATE REQUEST;"),
        ("der", "key", "no certificate is in DIR/der: it is binary; convert it with `openssl x509"),
        ("cut", "key", "a PEM block in DIR/cut is damaged: missing section end"),
        ("no-leaf", "key", "certificate 1 in DIR/no-leaf cannot be used: "),
        ("leaf", "leaf", "no private key is in DIR/leaf: it has only CERTIFICATE; name the file"),
        ("leaf", "der", "no private key is in DIR/der: it is binary; convert it with `openssl pk"),
        ("leaf", "two", "DIR/two has 2 private keys; keep the one"),
        ("leaf", "encrypted", "the private key in DIR/encrypted is encrypted, and the server"),
        ("leaf", "old", "the private key in DIR/old is encrypted, and the server"),
        ("leaf", "no-key", "the private key in DIR/no-key cannot be used: "),
        ("leaf", "other", "the key in DIR/other does not belong to the certificate in DIR/leaf;"),
    ] {
        let error = error(&folder, certificate, key);
        assert!(error.starts_with(sentence), "{certificate}, {key}: {error}");
    }
}

#[test]
fn a_byte_order_mark_and_text_between_blocks_do_no_harm() {
    let (root, folder) = (Authority::root("Root"), Folder::new());
    let key = key(KeyKind::P256);
    let leaf = root.issue(&parameters("leaf", &["a.example"]), &key);
    let text = format!("\u{feff}{leaf}\nsubject=leaf\n{}", key.serialize_pem());
    let both = folder.write("both", text.replace('\n', "\r\n"));
    assert_eq!(Certificate::load(&both, &both).unwrap().dns_names(), ["a.example"]);
}

#[test]
fn certificates_without_names_are_refused() {
    let (root, folder) = (Authority::root("Root"), Folder::new());
    let key = key(KeyKind::P256);
    let leaf = root.issue(&parameters("a.example", &[]), &key);
    folder.write("both", leaf + &key.serialize_pem());
    let error = error(&folder, "both", "both");
    assert!(error.starts_with("the certificate in DIR/both has neither a DNS name"), "{error}");
}

/// Loads the certificates for these letters, in this order: the Leaf, the one Between, the Root, a
/// Stranger, or an Impostor, which has the name of the one between, but not its key.
fn load_in_order(cases: &[(&str, Option<&str>)]) {
    let root = Authority::root("Root");
    let between = root.intermediate("Between");
    let (folder, key) = (Folder::new(), key(KeyKind::P256));
    let leaf = between.issue(&parameters("Leaf", &["a.example"]), &key);
    let key = folder.write("key", key.serialize_pem());
    let (stranger, impostor) = (Authority::root("Stranger"), root.intermediate("Between"));
    for (letters, sentence) in cases {
        let pem = |letter| match letter {
            'L' => &*leaf,
            'B' => &*between.pem,
            'R' => &*root.pem,
            'S' => &*stranger.pem,
            _ => &*impostor.pem,
        };
        let path = folder.write("c", letters.chars().map(pem).collect::<String>());
        match sentence {
            None => drop(Certificate::load(&path, &key).unwrap()),
            Some(sentence) => {
                let error = error(&folder, "c", "key");
                assert!(error.starts_with(sentence), "{letters}: {error}");
            }
        }
    }
}

#[test]
fn the_right_order_is_offered() {
    load_in_order(&[
        ("L", None),
        ("LB", None),
        ("LBR", None),
        (
            "RBL",
            Some(
                "the first certificate in DIR/c is not that of the key; write them in this order: \
                 number 3 (CN=Leaf), number 2 (CN=Between), number 1 (CN=Root)",
            ),
        ),
        (
            "SL",
            Some(
                "the first certificate in DIR/c is not that of the key; write them in this order: \
                 number 2 (CN=Leaf)",
            ),
        ),
        (
            "LRB",
            Some(
                "the certificates in DIR/c are in the wrong order; write them in this order: \
                 number 1 (CN=Leaf), number 3 (CN=Between), number 2 (CN=Root)",
            ),
        ),
        (
            "LLB",
            Some(
                "the certificates in DIR/c are in the wrong order; write them in this order: \
                 number 1 (CN=Leaf), number 3 (CN=Between)",
            ),
        ),
    ]);
}

#[test]
fn certificates_that_are_not_of_the_chain_are_refused() {
    load_in_order(&[
        (
            "LR",
            Some(
                "certificate 1 in DIR/c (CN=Leaf) is not issued by the one after it; put the \
                 certificate of its issuer (CN=Between) there, or remove those that follow",
            ),
        ),
        ("LBS", Some("certificate 2 in DIR/c (CN=Between) is not issued by the one after it")),
        ("LI", Some("certificate 1 in DIR/c (CN=Leaf) is not issued by the one after it")),
        // The one that has signed is found behind the one that has only the name.
        ("LIB", Some("certificate 1 in DIR/c (CN=Leaf) is not issued by the one after it")),
        ("BR", Some("the key in DIR/key does not belong to the certificate in DIR/c")),
    ]);
}

#[test]
fn times_are_notes() {
    let (folder, key) = (Folder::new(), key(KeyKind::P256));
    // Certificates have whole seconds.
    let start = SystemTime::UNIX_EPOCH + DAY * 20_000;
    let load = |days| {
        let mut parameters = parameters("leaf", &["a.example"]);
        set_times(&mut parameters, start, days);
        let pem = parameters.self_signed(&key).unwrap().pem();
        let both = folder.write("both", pem + &key.serialize_pem());
        Certificate::load(&both, &both).unwrap()
    };
    let (long, short) = (load(90), load(6));
    let hour = DAY / 24;
    for (certificate, now, note) in [
        (
            &long,
            start - hour * 25,
            Some("is not valid yet, but in 25 hours, from 2024-10-04T00:00"),
        ),
        (&long, start, None),
        (&long, start + DAY * 80, None),
        (&long, start + DAY * 81, Some("expires in 9 days, at 2025-01-02T00:00:00Z; renew it")),
        (&long, start + DAY * 90, Some("expires in less than an hour, at")),
        (&long, start + DAY * 93, Some("expired 3 days ago, at 2025-01-02T00:00:00Z, so clients")),
        (&short, start + DAY * 4, None),
        (&short, start + DAY * 4 + hour, Some("expires in 47 hours")),
    ] {
        let notes = certificate.notes(now);
        assert_eq!(notes.len(), usize::from(note.is_some()), "{notes:?}");
        let title = format!("the certificate in {} ", folder.path().join("both").display());
        let rest = notes.first().map(|note| note.strip_prefix(&title).unwrap());
        assert!(note.is_none_or(|note| rest.unwrap().starts_with(note)), "{note:?}: {notes:?}");
    }
}

#[test]
fn a_key_that_everybody_may_read_is_noted() {
    let (folder, key) = (Folder::new(), key(KeyKind::P256));
    let pem = parameters("leaf", &["a.example"]).self_signed(&key).unwrap().pem();
    let certificate = folder.write("certificate", pem);
    let key = folder.write("key", key.serialize_pem());
    for (mode, count) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let notes = Certificate::load(&certificate, &key).unwrap().notes(SystemTime::now());
        assert_eq!(notes.len(), count, "{mode:o}: {notes:?}");
        assert!(notes.iter().all(|note| note.contains("chmod o-r")), "{notes:?}");
    }
}

#[test]
fn self_signed_certificates_have_the_names() {
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    let local = Certificate::self_signed(&[]).unwrap();
    assert!(["localhost", "127.0.0.1", "[::1]"].iter().all(|name| local.is_valid_for(name)));
    let other = Certificate::self_signed(&names(&["*.Example.com.", "[2001:db8::1]"])).unwrap();
    assert_eq!(other.dns_names(), ["*.example.com"]);
    assert!(other.is_valid_for("2001:db8::1") && !other.is_valid_for("localhost"));
    assert_eq!((other.key_kind(), other.certificate_path()), ("ECDSA P-256", None));
    assert!(!other.has_same_key_as(&local) && other.has_same_key_as(&other));
    let now = SystemTime::now();
    assert_eq!(local.notes(now), [""; 0]);
    assert_eq!(
        local.notes(now + DAY * 11)[0].split(" at ").next().unwrap(),
        "the self-signed certificate expires in 2 days,"
    );
    for wrong in ["a b", "example.com:443", "", "*", "*.example", "a.*.b", "b\u{fc}cher.example"] {
        let error = Certificate::self_signed(&names(&[wrong])).unwrap_err().to_string();
        let start = format!("cannot make a self-signed certificate for {wrong:?}: ");
        assert!(error.starts_with(&start), "{error}");
    }
}
