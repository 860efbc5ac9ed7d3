//! Large files in parts.

use super::{Case, TAG, body, file, noise, put, read};
use ports::ErrorKind;
use ports::files::{Digest, DigestKind, Entry, FilePath, Part, part_digest};
use std::ops::Range;

const PART: u64 = 5 << 20;
const SIZE: u64 = 2 * PART + 12_345;

fn ranges() -> [Range<u64>; 3] {
    [0..PART, PART..2 * PART, 2 * PART..SIZE]
}

fn slice(data: &[u8], range: &Range<u64>) -> ports::files::Body {
    body(&data[range.start as usize..range.end as usize])
}

/// All parts in the order of the numbers, sent last first.
async fn send_all(case: &Case, entry: &Entry, upload: &str, data: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (i, range) in ranges().iter().enumerate().rev() {
        let part = case.target.parts().put_part(entry, upload, i as u32 + 1, range.clone(), slice(data, range)).await.expect("part");
        assert_eq!((part.number, part.size), (i as u32 + 1, range.end - range.start));
        parts.insert(0, part);
    }
    parts
}

pub async fn parts_go_on_in_another_process(case: &Case) {
    let data = noise(SIZE as usize, 7);
    let entry = Entry { mode: Some(0o604), modified_ns: Some(1_600_000_000_000_000_000), ..file("deep/big file", SIZE as usize) };
    put(&*case.target, "deep/big file", b"old").await;
    let upload = case.target.parts().begin(&entry, TAG, PART).await.expect("begin");
    let [one, two, three] = ranges();
    let third = case.target.parts().put_part(&entry, &upload, 3, three.clone(), slice(&data, &three)).await.expect("part 3");
    // A first try of part 1 with other content, as if it was cut.
    case.target.parts().put_part(&entry, &upload, 1, one.clone(), body(&noise(PART as usize, 8))).await.expect("part 1");
    assert_eq!(read(&*case.target, "deep/big file").await.expect("read"), b"old", "nothing is in place yet");
    let others = case.other.parts();
    let (first, second) = tokio::join!(
        others.put_part(&entry, &upload, 1, one.clone(), slice(&data, &one)),
        others.put_part(&entry, &upload, 2, two.clone(), slice(&data, &two)),
    );
    let parts = [first.expect("part 1 again"), second.expect("part 2"), third];
    case.other.parts().complete(&entry, &upload, &parts).await.expect("complete");
    assert!(read(&*case.target, "deep/big file").await.expect("read") == data);
    let stat = case.target.stat(&entry.path).await.expect("stat").expect("there");
    assert_eq!((stat.mode, stat.modified_ns), (entry.mode, entry.modified_ns));
    if case.target.traits().stored_digest == Some(DigestKind::Md5) {
        use md5::Digest as _;
        let md5s: Vec<[u8; 16]> = ranges().iter().map(|r| md5::Md5::digest(&data[r.start as usize..r.end as usize]).into()).collect();
        let digest = case.target.stored_digest(&entry.path, Some(PART)).await.expect("digest");
        assert_eq!(digest, Some(Digest { kind: DigestKind::Md5, hex: part_digest(&md5s) }));
        assert_eq!(case.target.stored_digest(&entry.path, None).await.expect("digest"), None, "not the digest of the whole");
    }
}

pub async fn complete_twice_is_fine(case: &Case) {
    let data = noise(SIZE as usize, 9);
    let entry = file("big", SIZE as usize);
    let upload = case.target.parts().begin(&entry, TAG, PART).await.expect("begin");
    let parts = send_all(case, &entry, &upload, &data).await;
    let error = case.target.parts().complete(&entry, &upload, &parts[..2]).await.expect_err("a part is missing");
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    case.target.parts().complete(&entry, &upload, &parts).await.expect("complete");
    case.other.parts().complete(&entry, &upload, &parts).await.expect("complete again");
    assert!(read(&*case.target, "big").await.expect("read") == data);
    if case.disk.is_none() {
        return; // SeaweedFS remembers finished uploads and says yes to anything.
    }
    let shrunk = file("big", SIZE as usize - 1);
    let fewer = [parts[0].clone(), parts[1].clone(), Part { size: parts[2].size - 1, ..parts[2].clone() }];
    let error = case.target.parts().complete(&shrunk, &upload, &fewer).await.expect_err("another size is there");
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

pub async fn an_aborted_upload_is_gone(case: &Case) {
    let data = noise(SIZE as usize, 10);
    let entry = file("big", SIZE as usize);
    let upload = case.target.parts().begin(&entry, TAG, PART).await.expect("begin");
    let parts = send_all(case, &entry, &upload, &data).await;
    case.other.parts().abort(&entry, &upload).await.expect("abort");
    case.other.parts().abort(&entry, &upload).await.expect("abort again");
    let error = case.target.parts().complete(&entry, &upload, &parts).await.expect_err("it is gone");
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert_eq!(case.target.stat(&FilePath::from("big")).await.expect("stat"), None);
    let error = case.target.parts().abort(&entry, "../../etc/passwd").await.expect_err("not one of ours");
    assert_eq!(error.kind, ErrorKind::Invalid);
}

pub async fn a_part_of_the_wrong_length_is_refused(case: &Case) {
    let data = noise(SIZE as usize, 11);
    let entry = file("big", SIZE as usize);
    let upload = case.target.parts().begin(&entry, TAG, PART).await.expect("begin");
    for given in [PART - 1, PART + 1, 0] {
        let error = case.target.parts().put_part(&entry, &upload, 1, 0..PART, body(&data[..given as usize])).await.expect_err("the length is wrong");
        assert_eq!(error.kind, ErrorKind::Changed, "{error}");
    }
    let parts = send_all(case, &entry, &upload, &data).await;
    case.target.parts().complete(&entry, &upload, &parts).await.expect("complete");
    assert!(read(&*case.target, "big").await.expect("read") == data);
}
