//! Things that lie unpacked under numbers come to their places: by one program on the server where it has Perl, else, and whatever that program
//! could not do, by renames over SFTP.

use super::SshTree;
use super::list::odd;
use crate::sftp::session::{Answer, Fault, Session};
use crate::sftp::verbs::done;
use crate::sftp::wire;
use crate::sftp::write::{Over, place};
use crate::tar;
use bytes::BytesMut;
use ports::files::posix::Unpacked;
use ports::files::{Entry, EntryKind, FilePath};
use ports::{ConnectorError, Result};
use std::collections::VecDeque;

/// Renames without waiting for an answer.
const AHEAD: usize = 64;

/// The file in the staging directory that says where everything belongs. No number, so it meets nothing.
const LIST: &str = "places";

/// Takes the list: for each number, `+` and a path where nothing may stand, `=` and a path where something may be replaced, `-` for what stays.
/// A rename that replaces nothing is one call on a Linux whose numbers of calls are known, else a second name and then the first one's end. Prints
/// the numbers that it could not place with the error's number, and `gone` when nothing was left. The points in between end it soon after we have
/// died: nobody reads what it prints then.
const PROGRAM: &str = r#"use Config; use strict;
my ($arch, $no) = ($Config{archname}, 0);
if ($Config{ptrsize} == 8) { $no = $arch =~ /^x86_64-linux/ ? 316 : $arch =~ /^aarch64-linux/ ? 276 : 0 }
open(my $list, "<:raw", "places") or die "places: $!\n";
$/ = "\0"; $| = 1;
for (my $n = 0; defined(my $to = <$list>); $n++) {
  chomp $to;
  my ($how, $from) = (substr($to, 0, 1, ""), "./$n");
  print ".\n" if $n % 32 == 0;
  next if $how eq "-";
  $to = "../$to";
  if ($how eq "=") { next if rename($from, $to) }
  else {
    next if $no && syscall($no, -100, $from, -100, $to, 1) == 0;
    if ($! != 17 && link($from, $to)) { unlink($from); next }
  }
  print "$n ", $! + 0, "\n";
}
close($list); unlink("places"); chdir("..") or die "..: $!\n";
print "gone\n" if rmdir($ARGV[0]);"#;

/// ENOENT, on every Unix.
const ABSENT: &str = "2";

/// A thing under its number.
pub(super) struct Staged {
    pub(super) path: FilePath,
    pub(super) fresh: bool,
    pub(super) state: State,
}

pub(super) enum State {
    /// It lies under its number.
    Waits,
    /// It cannot come to its place.
    Refused(ConnectorError),
    /// It is in its place.
    Placed,
}

impl Staged {
    fn outcome(self) -> Result<()> {
        if let State::Refused(e) = self.state { Err(e) } else { Ok(()) }
    }
}

/// What puts everything in place, to be run in the staging directory `name`.
pub(super) fn program(name: &str) -> String {
    format!("exec perl -e {} './{name}'", String::from_utf8_lossy(&super::exec::quoted(PROGRAM.as_bytes())))
}

/// Makes the directories that are missing, and adds the list to the archive.
pub(super) async fn list(tree: &SshTree, staged: &mut [Staged], archive: &mut BytesMut) -> Result<()> {
    let session = tree.host.session().await?;
    let mut places = Vec::new();
    for thing in staged {
        match tree.host.ready(&session, &thing.path).await {
            Ok(()) => {
                places.push(if thing.fresh { b'+' } else { b'=' });
                places.extend_from_slice(thing.path.as_bytes());
            }
            Err(e) => {
                places.push(b'-');
                thing.state = State::Refused(e);
            }
        }
        places.push(0);
    }
    let size = places.len() as u64;
    let kind = EntryKind::File { size };
    let entry = Entry { mode: Some(0o600), ..Entry::new(FilePath::from(LIST), kind) };
    tar::begin(archive, LIST.as_bytes(), &entry, std::slice::from_ref(&(0..size)));
    archive.extend_from_slice(&places);
    archive.extend_from_slice(tar::padding(size));
    Ok(())
}

/// Notes what the program said; whether the staging directory is still there.
pub(super) fn heard(tree: &SshTree, mut staged: Vec<Staged>, words: &[u8]) -> Result<(Vec<Staged>, bool)> {
    let text = String::from_utf8_lossy(words);
    let mut waiting = std::collections::HashSet::new();
    let mut left = true;
    for line in text.lines() {
        match line.split_once(' ').map(|(number, error)| (number.parse::<usize>(), error)) {
            Some((Ok(at), error)) if at < staged.len() => {
                // The directory went since it was checked.
                if error == ABSENT {
                    tree.host.forget_all();
                }
                waiting.insert(at);
            }
            None if line == "gone" => left = false,
            None if line == "." => {}
            _ => return Err(odd("put files in place at", tree.host.location())),
        }
    }
    for (at, thing) in staged.iter_mut().enumerate() {
        if matches!(thing.state, State::Waits) && !waiting.contains(&at) {
            thing.state = State::Placed;
        }
    }
    Ok((staged, left))
}

/// A rename that was asked for.
struct Asked {
    at: usize,
    path: FilePath,
    fresh: bool,
    answer: Answer,
}

/// Renames over SFTP what waits still, many requests under way at once; what became of everything.
pub(super) async fn by_requests(tree: &SshTree, name: &str, staged: Vec<Staged>) -> Result<Unpacked> {
    if staged.iter().all(|thing| !matches!(thing.state, State::Waits)) {
        return Ok(staged.into_iter().map(Staged::outcome).collect());
    }
    let host = &tree.host;
    let session = host.session().await?;
    let mut outcomes: Unpacked = Vec::with_capacity(staged.len());
    let mut asked = VecDeque::new();
    let number = |at: usize| host.absolute(&FilePath::from(name).join(at.to_string().as_bytes()));
    for (at, mut thing) in staged.into_iter().enumerate() {
        let waits = matches!(thing.state, State::Waits);
        if waits && let Err(e) = host.ready(&session, &thing.path).await {
            thing.state = State::Refused(e);
        } else if waits {
            let answer = session.send_rename(&number(at), &host.absolute(&thing.path), thing.fresh).await;
            asked.push_back(Asked { at, path: thing.path.clone(), fresh: thing.fresh, answer });
        }
        outcomes.push(thing.outcome());
        if asked.len() >= AHEAD
            && let Some(first) = asked.pop_front()
        {
            let at = first.at;
            outcomes[at] = settle(tree, &session, first, &number(at)).await?;
        }
    }
    for last in asked {
        let at = last.at;
        outcomes[at] = settle(tree, &session, last, &number(at)).await?;
    }
    Ok(outcomes)
}

/// The outer error concerns the connection, the inner one this thing.
async fn settle(tree: &SshTree, session: &Session, asked: Asked, from: &[u8]) -> Result<Result<()>> {
    let host = &tree.host;
    let told = |fault: Fault| fault.tell("put in place", &host.subject(&asked.path));
    let over = if asked.fresh { Over::Nothing } else { Over::Anything };
    match asked.answer.wait().await.and_then(done) {
        Ok(()) => Ok(Ok(())),
        Err(Fault::Lost) => Err(told(Fault::Lost)),
        // The directory went since it was checked; or something is in the way.
        Err(fault) => {
            if fault.code() == Some(wire::NO_SUCH_FILE) {
                host.forget_all();
            }
            if let Err(e) = host.ready(session, &asked.path).await {
                return Ok(Err(e));
            }
            match place(host, session, from, &asked.path, over).await {
                Err(Fault::Lost) => Err(told(Fault::Lost)),
                other => Ok(other.map_err(told)),
            }
        }
    }
}
