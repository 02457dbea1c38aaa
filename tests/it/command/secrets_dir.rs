//! `SECRETS_DIR`: one file for each secret setting, as volumes of Kubernetes and Container Apps are mounted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::azurite::{Azurite, unique_name};
use crate::support::local_world::{World, plain};
use crate::support::program::{KEY, Program};

/// An empty directory of secrets beside the archive.
fn secrets_of(world: &World) -> PathBuf {
    let directory = world.outside().join("secrets");
    fs::create_dir(&directory).unwrap();
    directory
}

/// A sync without a key in the environment.
fn sync(world: &World, secrets: &Path) -> Program {
    world
        .sync()
        .unset("LASTFM_API_KEY")
        .set("SECRETS_DIR", secrets)
}

/// Writes a generation of a mounted volume as the kubelet does: files in a hidden directory, `..data` as a link to it
/// that is replaced at one stroke, and a link through `..data` for each file.
fn mount(secrets: &Path, generation: &str, key: &str) {
    let hidden = secrets.join(generation);
    fs::create_dir(&hidden).unwrap();
    fs::write(hidden.join("LASTFM_API_KEY"), key).unwrap();
    symlink(generation, secrets.join("..data_tmp")).unwrap();
    fs::rename(secrets.join("..data_tmp"), secrets.join("..data")).unwrap();
    let link = secrets.join("LASTFM_API_KEY");
    if !link.exists() {
        symlink("..data/LASTFM_API_KEY", link).unwrap();
    }
}

#[test]
fn a_mounted_volume_gives_the_key_and_its_own_directories_do_no_harm() {
    let world = World::of(plain(3));
    world.configure(|config| config.accepted_keys = Some(vec![KEY.to_owned()]));
    let secrets = secrets_of(&world);
    mount(&secrets, "..2026_11_23_00_00_00.1", &format!("{KEY}\r\n\n"));
    // Directories and files of other names are nobody's settings.
    fs::create_dir(secrets.join("LASTFM_PAGE_SIZE")).unwrap();
    fs::write(secrets.join("README"), "\u{0}").unwrap();
    sync(&world, &secrets).run().expect(0);
    world.assert_complete();
    // The next generation, with the link replaced at one stroke.
    world.configure(|config| config.accepted_keys = Some(vec!["another".to_owned()]));
    mount(&secrets, "..2026_11_24_00_00_00.2", "another");
    sync(&world, &secrets).run().expect(0);
}

#[test]
fn a_directory_that_is_not_there_is_as_good_as_an_empty_one() {
    let world = World::of(plain(3));
    let nowhere = world.outside().join("nowhere");
    world.sync().set("SECRETS_DIR", &nowhere).run().expect(0);
    let missing = sync(&world, &nowhere).run().expect(1);
    missing
        .says("`LASTFM_API_KEY` is missing")
        .says("`SECRETS_DIR`");
}

#[test]
fn a_directory_without_the_file_leaves_the_variable_as_it_is() {
    let world = World::of(plain(3));
    let secrets = secrets_of(&world);
    symlink("nowhere", secrets.join("LASTFM_API_KEY")).unwrap();
    let program = world.sync().set("SECRETS_DIR", &secrets);
    program.run().expect(0);
    world.assert_complete();
}

#[test]
fn a_connection_may_lie_in_files_whole_or_field_by_field() {
    let azurite = Azurite::start();
    let world = World::of(plain(3));
    let secrets = secrets_of(&world);
    let connection = format!("{}\n", azurite.connection_string());
    fs::write(secrets.join("AzureWebJobsStorage"), connection).unwrap();
    let enqueue = || {
        Program::new(&["enqueue", "alice"])
            .set("WORK_QUEUE", unique_name("secrets"))
            .set("SECRETS_DIR", &secrets)
    };
    enqueue().run().expect(0);
    fs::remove_file(secrets.join("AzureWebJobsStorage")).unwrap();
    let field = "AzureWebJobsStorage__queueServiceUri";
    fs::write(secrets.join(field), "http://127.0.0.1:1/zq9").unwrap();
    let ran = enqueue().run().expect(1).says(field);
    assert!(!ran.stderr.contains("zq9"), "{}", ran.stderr);
}

#[test]
fn a_file_that_cannot_be_used_is_refused_by_the_name_of_its_setting() {
    let world = World::of(plain(3));
    let secrets = secrets_of(&world);
    let file = secrets.join("LASTFM_API_KEY");
    let reference = "@Microsoft.KeyVault(VaultName=zq9;SecretName=zq9)";
    let contents: [(&[u8], &str); 4] = [
        (b"", "is missing"),
        (b"\n", "is missing"),
        (b"zq9\xff", "is not UTF-8"),
        (reference.as_bytes(), "was not resolved"),
    ];
    for (content, reason) in contents {
        fs::write(&file, content).unwrap();
        let ran = sync(&world, &secrets).run().expect(1);
        let ran = ran.says("`LASTFM_API_KEY`").says(reason);
        assert!(!ran.stderr.contains("zq9"), "{}", ran.stderr);
    }
    fs::remove_file(&file).unwrap();
    // Whoever runs the tests may read everything, but not go round in circles.
    symlink("LASTFM_API_KEY", &file).unwrap();
    let ran = sync(&world, &secrets).run().expect(1);
    ran.says("`LASTFM_API_KEY` cannot be read from its file in `SECRETS_DIR`");
    assert_eq!(world.take_requests(), 0);
}
