//! Codecs, on all bytes that a key may hold.
#![cfg(all(feature = "postcard", feature = "messagepack", feature = "lz4"))]
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use proptest::prelude::*;
use redcache::{
    Cache, Codec, Compressed, ErrorKind, Json, MessagePack, Postcard, Typed, TypedCache,
};
use redcache_sim::listen::EmbeddedServer;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    visits: Option<u64>,
    tags: Vec<String>,
}

mod next {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct User {
        pub(super) name: String,
        pub(super) tags: Vec<String>,
        pub(super) visits: Option<u64>,
    }
}

fn users() -> impl Strategy<Value = User> {
    ("[a-z]{0,2000}", any::<Option<u64>>(), any::<Vec<String>>())
        .prop_map(|(name, visits, tags)| User { name, visits, tags })
}

/// Check that a value survives, and that no bytes panic or become another value by truncation.
fn check(codec: impl Codec<User>, user: &User, bytes: &[u8]) {
    let mut encoded = Vec::new();
    codec.encode(user, &mut encoded).unwrap();
    assert_eq!(&codec.decode(&encoded).unwrap(), user);
    let end = bytes.len() % encoded.len();
    assert!(codec.decode(&encoded[..end]).is_err());
    let _ = codec.decode(bytes);
    let mut flipped = encoded.clone();
    flipped[end] ^= 1 << (bytes.len() % 8);
    let _ = codec.decode(&flipped);
    encoded.push(0);
    assert!(codec.decode(&encoded).is_err());
}

proptest! {
    #[test]
    fn a_value_survives_its_codec_and_other_bytes_are_refused(
        user in users(), bytes in any::<Vec<u8>>(),
    ) {
        check(Json, &user, &bytes);
        check(Postcard, &user, &bytes);
        check(MessagePack, &user, &bytes);
        check(Compressed::new(Json), &user, &bytes);
        check(Compressed::new(Postcard).size_min(0), &user, &bytes);
    }
}

async fn is_readable<C: Codec<User> + Codec<next::User> + Clone>(cache: &Cache, codec: C) -> bool {
    let old: TypedCache<u8, User, C> = cache.typed("user", codec.clone()).build().unwrap();
    let user = User { name: "Ada".to_owned(), visits: Some(1), tags: Vec::new() };
    old.insert(&1, &user).await.unwrap();
    assert_eq!(old.get(&1).await.unwrap().value, Some(user.into()));
    let new: TypedCache<u8, next::User, C> = cache.typed("user", codec).build().unwrap();
    match new.get(&1).await {
        Ok(answer) => answer.value.is_some_and(|user| user.name == "Ada" && user.visits.is_some()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Undecodable);
            false
        }
    }
}

#[tokio::test]
async fn binary_codecs_keep_other_structs_apart_and_json_matches_names() {
    let server = EmbeddedServer::start().unwrap();
    let cache = redcache::connect(server.url()).await.unwrap();
    assert!(is_readable(&cache, Json).await);
    assert!(is_readable(&cache, Compressed::new(Json).size_min(0)).await);
    assert!(!is_readable(&cache, Postcard).await);
    assert!(!is_readable(&cache, MessagePack).await);
    let other = redcache::connect(server.url()).await.unwrap();
    let versioned = |cache: &Cache, version| {
        let view: TypedCache<u8, u64, Postcard> =
            cache.typed("n", Postcard).schema_version(version).ttl(TTL).build().unwrap();
        view
    };
    versioned(&cache, 1).insert(&1, &7).await.unwrap();
    assert!(versioned(&cache, 1).get(&1).await.unwrap().value.is_some());
    assert!(versioned(&other, 2).get(&1).await.is_err());
}
