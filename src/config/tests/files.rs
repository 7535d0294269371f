//! Files on a disk: what is read, what is left alone, what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::config::{
    FileFact, FileStamp, HostFacts, Machine, Settings, Sources, load, load_sources, read, read_accepted, watched,
};

const ORG: &str = "[orgs.acme]\nimage = \"dev\"\n";

/// A directory with a main file, as an admin would make it.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("hearth.toml"), ORG);
    directory
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    mode(path, 0o600);
    mode(path.parent().unwrap(), 0o700);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The problems of a configuration, with the directory's name taken out.
fn refused(directory: &tempfile::TempDir) -> String {
    let problems = load(&directory.path().join("hearth.toml")).map(|loaded| loaded.hash).unwrap_err().to_string();
    problems.replace(directory.path().to_str().unwrap(), "DIR")
}

#[test]
fn c5_drop_ins_count_in_name_order_and_leftovers_of_editors_do_not() {
    let directory = directory();
    let conf_d = directory.path().join("conf.d");
    for name in ["20-b.toml", "10-a.toml", "Z.toml"] {
        write(&conf_d.join(name), "# nothing\n");
    }
    for leftover in
        [".10-a.toml.swp", ".#10-a.toml", "10-a.toml~", "#10-a.toml#", "10-a.toml.bak", "4913", ".toml", "notes.txt"]
    {
        write(&conf_d.join(leftover), "this is = not TOML [");
    }
    let loaded = load(&directory.path().join("hearth.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<_> =
        loaded.sources.files().iter().map(|file| file.path.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["hearth.toml", "10-a.toml", "20-b.toml", "Z.toml"]);
    write(&conf_d.join("20-b.toml"), "# something\n");
    assert_ne!(load(&directory.path().join("hearth.toml")).unwrap().hash, loaded.hash);
}

#[test]
fn c5_what_is_there_and_cannot_be_read_is_an_error() {
    let with = |make: fn(&Path)| {
        let directory = directory();
        make(directory.path());
        refused(&directory)
    };
    let all = [
        with(|path| fs::remove_file(path.join("hearth.toml")).unwrap()),
        with(|path| write(&path.join("conf.d"), "")),
        with(|path| symlink("nowhere", path.join("conf.d")).unwrap()),
        with(|path| {
            write(&path.join("conf.d/10-a.toml"), "");
            symlink("nowhere", path.join("conf.d/20-b.toml")).unwrap();
            fs::create_dir(path.join("conf.d/30-c.toml")).unwrap();
        }),
        with(|path| write(&path.join("hearth.toml"), b"[orgs.acme]\nimage = \"\xc3\xa4 \xff\"\n")),
        with(|path| write(&path.join("hearth.toml"), vec![b'#'; 9 << 20])),
    ];
    insta::assert_snapshot!(all.join("\n\n"), @r"
    DIR/hearth.toml:1:1: there is no such file
    help: name another with `--config`, or write it

    DIR/conf.d:1:1: cannot read the directory: Not a directory (os error 20)
    help: make it readable for hearthd, or remove it: `ls -ld DIR/conf.d`

    DIR/conf.d:1:1: this is a link that leads nowhere
    help: make it readable for hearthd, or remove it: `ls -ld DIR/conf.d`

    DIR/conf.d/20-b.toml:1:1: this is a link that leads nowhere
    help: make it readable for hearthd, or remove it: `ls -ld DIR/conf.d/20-b.toml`

    DIR/conf.d/30-c.toml:1:1: this is not a file
    help: name a TOML file

    DIR/hearth.toml:2:12: the file is not UTF-8 text here
    help: save it as UTF-8

    DIR/hearth.toml:1:1: the file is longer than 8 MiB
    help: split it into files of `conf.d`
    ");
}

#[test]
fn c2_a_configuration_that_others_can_write_is_refused() {
    let directory = directory();
    let conf_d = directory.path().join("conf.d");
    write(&conf_d.join("10-a.toml"), "");
    load(&directory.path().join("hearth.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    mode(&conf_d.join("10-a.toml"), 0o664);
    mode(&conf_d, 0o702);
    insta::assert_snapshot!(refused(&directory), @r"
    DIR/conf.d/10-a.toml:1:1: others can write this file (mode 0664)
    help: chmod go-w DIR/conf.d/10-a.toml

    DIR/conf.d:1:1: others can write this directory (mode 0702)
    help: chmod go-w DIR/conf.d
    ");
}

#[test]
fn c2_a_link_to_a_file_in_a_directory_of_others_is_refused() {
    let directory = directory();
    write(&directory.path().join("shared/team.toml"), "");
    mode(&directory.path().join("shared"), 0o777);
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    symlink("../shared/team.toml", directory.path().join("conf.d/team.toml")).unwrap();
    assert!(refused(&directory).starts_with("DIR/shared:1:1: others can write this directory (mode 0777)"));
}

/// The machine, but nothing is hearth's.
struct Foreign;

impl HostFacts for Foreign {
    fn timezone(&self) -> Option<String> {
        None
    }

    fn uid(&self) -> u32 {
        999
    }

    fn file(&self, _path: &Path) -> FileFact {
        FileFact::There { owner: 1000, mode: 0o644, directory: false, stamp: FileStamp::default() }
    }

    fn resolve(&self, path: &Path) -> std::path::PathBuf {
        path.to_owned()
    }
}

#[test]
fn c2_a_configuration_that_belongs_to_somebody_else_is_refused() {
    let problems = read(&Sources::new("/etc/hearth/hearth.toml", ORG), &Foreign).unwrap_err();
    insta::assert_snapshot!(problems, @r"
    /etc/hearth/hearth.toml:1:1: the file belongs to uid 1000, who could change the configuration
    help: chown root /etc/hearth/hearth.toml

    /etc/hearth:1:1: the directory belongs to uid 1000, who could change the configuration
    help: chown root /etc/hearth
    ");
}

#[test]
fn c1_the_accepted_copy_is_read_whatever_has_become_of_the_files() {
    let text = format!("{ORG}[orgs.acme.secrets.A]\nfile = \"/nowhere/secret\"\n");
    let sources = Sources::new("/etc/hearth/hearth.toml", &text);
    assert!(read(&sources, &Machine).is_err());
    let copy: Sources = serde_json::from_str(&serde_json::to_string(&sources).unwrap()).unwrap();
    assert_eq!(copy, sources);
    let accepted = read_accepted(&copy, Some("Europe/Berlin".to_owned())).unwrap();
    assert_eq!(accepted.settings.server.timezone.name, "Europe/Berlin");
}

#[test]
fn c6_the_accepted_copy_knows_the_secrets_as_they_are() {
    let directory = directory();
    let secret = directory.path().join("npm");
    write(&secret, "first");
    let text = format!("{ORG}[orgs.acme.secrets.A]\nfile = \"{}\"\n", secret.display());
    let sources = Sources::new("hearth.toml", &text);
    let secrets = |settings: Settings| settings.orgs.into_values().map(|org| org.secrets).collect::<Vec<_>>();
    let copy = || secrets(read_accepted(&sources, None).unwrap().settings);
    let first = copy();
    assert_eq!(first, copy());
    write(&secret, "another");
    assert_ne!(first, copy());
}

#[test]
fn c5_the_directories_of_every_link_are_watched() {
    let directory = directory();
    let path = &directory.path().canonicalize().unwrap();
    write(&path.join("versions/2/hearth.toml"), ORG);
    write(&path.join("versions/2/conf.d/a.toml"), "");
    fs::create_dir(path.join("etc")).unwrap();
    symlink("versions/2", path.join("current")).unwrap();
    symlink("../current/hearth.toml", path.join("etc/hearth.toml")).unwrap();
    symlink(path.join("versions/2/conf.d"), path.join("etc/conf.d")).unwrap();
    let watched = watched(&path.join("etc/hearth.toml"));
    let below = |watched: &Path| watched.strip_prefix(path).map(|below| below.to_str().unwrap().to_owned());
    let shown: Vec<_> = watched.iter().filter_map(|watched| below(watched).ok()).collect();
    for needed in ["etc", "", "versions/2", "versions/2/conf.d"] {
        assert!(shown.iter().any(|shown| shown == needed), "{needed:?} is not in {shown:?}");
    }
}

#[test]
fn the_machine_says_where_paths_lead() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    symlink("/proc", path.join("link")).unwrap();
    assert_eq!(Machine.resolve(&path.join("link/self-not-there/x")), Path::new("/proc/self-not-there/x"));
    assert_eq!(Machine.resolve(Path::new("/nowhere/at/all")), Path::new("/nowhere/at/all"));
    assert_eq!(Machine.file(&path.join("none")), FileFact::Missing);
    assert!(
        load_sources(Path::new("/nowhere/hearth.toml"))
            .unwrap_err()
            .to_string()
            .starts_with("/nowhere/hearth.toml:1:1: there is no such file")
    );
}
