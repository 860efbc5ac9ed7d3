use super::*;
use futures::TryStreamExt;
use testkit::memory_files::MemoryFiles;

#[tokio::test]
async fn the_uploads_stand_in_their_place_and_in_the_order_of_listings() {
    let base = MemoryFiles::tree("web root");
    base.write("index.php", "x")
        .write("wp-content/uploads-old/a", "x")
        .write("wp-content/uploads/hidden", "x")
        .write("wp-content/uploads.txt", "x")
        .write("z", "x");
    let uploads = MemoryFiles::tree("uploads");
    uploads.write("2024/a.jpg", "photo").write("b", "x");
    let joined = WithUploads::new(Arc::new(base), Arc::new(uploads), "wp-content/uploads");
    let listed: Vec<String> = joined.list().map_ok(|e| e.path.to_string()).try_collect().await.unwrap();
    let expected = [
        "index.php",
        "wp-content",
        "wp-content/uploads-old",
        "wp-content/uploads-old/a",
        "wp-content/uploads.txt",
        "wp-content/uploads",
        "wp-content/uploads/2024",
        "wp-content/uploads/2024/a.jpg",
        "wp-content/uploads/b",
        "z",
    ];
    assert_eq!(listed, expected);
    let photo = FilePath::from("wp-content/uploads/2024/a.jpg");
    let opened = joined.open(&photo, None).await.unwrap();
    assert_eq!((opened.entry.path.clone(), opened.entry.size()), (photo.clone(), 5));
    assert_eq!(joined.stat(&photo).await.unwrap().map(|e| e.path), Some(photo));
    assert!(joined.stat(&FilePath::from("wp-content/uploads/hidden")).await.unwrap().is_none());
}
