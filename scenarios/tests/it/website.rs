//! A static site moves into a bucket that serves sites: its documents are set, and undo puts back what the bucket served before.

use crate::bucket::Bucket;
use crate::product::Product;
use crate::tree;
use serde_json::json;

const EARLIER: &str = "<WebsiteConfiguration><IndexDocument><Suffix>start.html</Suffix></IndexDocument><ErrorDocument><Key>oops.html</Key></ErrorDocument>\
    <RoutingRules><RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>\
    <Redirect><ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith></Redirect></RoutingRule></RoutingRules></WebsiteConfiguration>";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bucket_served_before_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let site = dir.path().join("site");
    tree::make(&site, 20);
    std::fs::write(site.join("index.html"), "<h1>new</h1>").expect("a page");
    let bucket = Bucket::strict("website");
    bucket.files().await.prepare().await.expect("a bucket");
    let product = Product::start(&dir.path().join("data"), &[dir.path()]).await;
    for earlier in [Some(EARLIER), None] {
        if let Some(earlier) = earlier {
            bucket.set_website(earlier);
        } else {
            bucket.files().await.website().expect("a store of sites").restore_website(None).await.expect("remove");
        }
        let before = bucket.website();
        assert_eq!(before.contains("old/"), earlier.is_some(), "{before}");
        let mut destination = bucket.destination(&bucket.store.endpoint);
        destination["index_document"] = json!("index.html");
        destination["error_document"] = json!("404.html");
        let spec = json!({"name": "a site", "source": {"type": "static", "paths": {"web_root": site}}, "destination": destination,
            "safety": {"backup_before": false}});
        let (id, status) = product.run(spec).await;
        assert_eq!(status["status"], "completed", "{status:#}");
        let now = bucket.website();
        assert!(now.contains("<Suffix>index.html</Suffix>") && now.contains("<Key>404.html</Key>") && !now.contains("old/"), "{now}");
        let (code, answer) = product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
        assert_eq!(code, 200, "{answer:#}");
        assert_eq!(product.settle(&id).await["status"], "rolled_back");
        if earlier.is_some() {
            assert_eq!(bucket.website(), before, "in every detail");
        } else {
            assert!(bucket.website().contains("NoSuchWebsiteConfiguration"), "{}", bucket.website());
        }
    }
    bucket.remove(&[]).await;
}
