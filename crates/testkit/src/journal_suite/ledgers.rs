//! Chunk ledgers.

use super::Bench;
use engine::journal::{ChunkDone, NewChunk};
use engine::{EngineError, LedgerTotals};

fn chunk(seq: u64, items: u64, bytes: u64) -> NewChunk {
    NewChunk { seq, spec: seq.to_be_bytes().to_vec(), items, bytes }
}

fn done(seq: u64, items: u64, bytes: u64) -> ChunkDone {
    ChunkDone { seq, result: format!("result {seq}").into_bytes(), items, bytes }
}

pub async fn plan_and_done(b: Bench) {
    let token = b.claimed("a", "w").await.token;
    let (j, run) = (&b.journal, &token.run);
    assert_eq!(j.totals(&b.tenant, run, "files").await.unwrap(), LedgerTotals::default());
    assert!(j.pending(&token, "files", None, 10).await.unwrap().is_empty());
    j.plan(&token, "files", vec![chunk(0, 2, 10), chunk(5, 3, 30), chunk(2, 1, 7)]).await.unwrap();
    let other = NewChunk { spec: vec![9], ..chunk(2, 99, 99) };
    j.plan(&token, "files", vec![other, chunk(7, 1, 1)]).await.unwrap();
    j.plan(&token, "files", vec![]).await.unwrap();
    j.plan(&token, "tables", vec![chunk(0, 1000, 0)]).await.unwrap();
    let totals = LedgerTotals { chunks: 4, items: 7, bytes: 48, ..LedgerTotals::default() };
    assert_eq!(j.totals(&b.tenant, run, "files").await.unwrap(), totals, "a chunk that is there is left as it is");
    let first = j.pending(&token, "files", None, 2).await.unwrap();
    assert_eq!(
        first.iter().map(|c| (c.seq, c.attempts, c.spec.clone())).collect::<Vec<_>>(),
        [(0, 1, 0_u64.to_be_bytes().to_vec()), (2, 1, 2_u64.to_be_bytes().to_vec())]
    );
    j.done(&token, "files", vec![done(2, 1, 7), done(0, 4, 11)]).await.unwrap();
    j.done(&token, "files", vec![ChunkDone { result: b"second".to_vec(), ..done(2, 50, 50) }]).await.unwrap();
    let totals = LedgerTotals { chunks: 4, chunks_done: 2, items: 9, items_done: 5, bytes: 49, bytes_done: 18, sealed: false };
    assert_eq!(j.totals(&b.tenant, run, "files").await.unwrap(), totals, "exact counts replace planned ones; the first result stays");
    let open = j.pending(&token, "files", None, 10).await.unwrap();
    assert_eq!(open.iter().map(|c| (c.seq, c.attempts)).collect::<Vec<_>>(), [(5, 1), (7, 1)]);
    let all = j.all(&b.tenant, run, "files", None, 10).await.unwrap();
    assert_eq!(
        all.iter().map(|c| (c.seq, c.items, c.attempts, c.result.clone())).collect::<Vec<_>>(),
        [(0, 4, 1, Some(b"result 0".to_vec())), (2, 1, 1, Some(b"result 2".to_vec())), (5, 3, 1, None), (7, 1, 1, None)]
    );
    j.plan(&token, "files", vec![chunk(2, 8, 8)]).await.unwrap();
    assert_eq!(j.totals(&b.tenant, run, "files").await.unwrap(), totals, "planning anew forgets no result");
    let unknown = j.done(&token, "files", vec![done(5, 3, 30), done(6, 1, 1)]).await.unwrap_err();
    assert!(matches!(unknown, EngineError::Invalid(_)), "{unknown:?}");
    j.seal(&token, "files").await.unwrap();
    j.seal(&token, "files").await.unwrap();
    j.seal(&token, "empty").await.unwrap();
    let view = j.own_view(&token).await.unwrap();
    let sealed: Vec<_> = view.ledgers.iter().map(|(name, t)| (name.as_str(), t.sealed, t.chunks)).collect();
    assert_eq!(sealed, [("empty", true, 0), ("files", true, 4), ("tables", false, 1)]);
}

pub async fn pages(b: Bench) {
    let token = b.claimed("a", "w").await.token;
    let planned: Vec<_> = (0..1234).rev().map(|n| chunk(n * 3, 1, 2)).collect();
    b.journal.plan(&token, "files", planned).await.unwrap();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = b.journal.all(&b.tenant, &token.run, "files", after, 500).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.seq);
        seen.extend(page.iter().map(|c| c.seq));
    }
    assert_eq!(seen, (0..1234).map(|n| n * 3).collect::<Vec<_>>());
    let even = seen.iter().filter(|s| **s % 2 == 0).map(|s| done(*s, 1, 2)).collect();
    b.journal.done(&token, "files", even).await.unwrap();
    let page = b.journal.pending(&token, "files", Some(300), 3).await.unwrap();
    assert_eq!(page.iter().map(|c| c.seq).collect::<Vec<_>>(), [303, 309, 315]);
    assert_eq!(b.journal.totals(&b.tenant, &token.run, "files").await.unwrap().chunks_done, 617);
    assert!(b.journal.all("other", &token.run, "files", None, 5).await.unwrap_or_default().is_empty(), "not for another tenant");
}

pub async fn many_movers_at_once(b: Bench) {
    let token = b.claimed("a", "w").await.token;
    b.journal.plan(&token, "files", (0..200).map(|n| chunk(n, 1, 10)).collect()).await.unwrap();
    let calls = (0..200).map(|n| b.journal.done(&token, "files", vec![done(n, 1, 10)]));
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    let totals = b.journal.totals(&b.tenant, &token.run, "files").await.unwrap();
    assert_eq!(totals, LedgerTotals { chunks: 200, chunks_done: 200, items: 200, items_done: 200, bytes: 2000, bytes_done: 2000, sealed: false });
}
