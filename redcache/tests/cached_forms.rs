//! Functions of each form with the attribute `cached`.
#![cfg(all(feature = "macros", feature = "tokio"))]
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;

use redcache::{BoxError, Cache, CacheKey, Codec, CodecError, Json, cached};
use redcache_sim::listen::EmbeddedServer;
use serde::{Deserialize, Serialize};

async fn connect(server: &EmbeddedServer) -> Cache {
    redcache::connect(server.url()).await.unwrap()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Country {
    r#type: u8,
}

impl Country {
    #[cached(cache = cache, key = "country:{code}", skip(cache))]
    async fn load<'a>(cache: &'a Cache, code: &'a str) -> Result<Self, BoxError> {
        Ok(Self { r#type: code.parse()? })
    }
}

/// A source of rows. The trait caches one of its methods, and its implementation another.
trait Source {
    type Row;

    fn cache(&self) -> &Cache;

    fn name(&self) -> &str;

    async fn row(&self, id: u8) -> Result<Self::Row, BoxError>;

    #[cached(cache = self.cache(), key = "label:{id}", ttl = "1m")]
    async fn label(&self, id: u8) -> Result<String, BoxError> {
        Ok(format!("{} {id}", self.name()))
    }
}

struct Countries(Cache, &'static str);

impl Source for Countries {
    type Row = Country;

    fn cache(&self) -> &Cache {
        &self.0
    }

    fn name(&self) -> &str {
        self.1
    }

    #[cached(cache = self.0, key = "row:{self.1}/{id}")]
    async fn row(&self, id: u8) -> Result<Self::Row, BoxError> {
        Ok(Country { r#type: id })
    }
}

/// A service on any source. The type of its cached values is the same for each of them.
struct Service<S>(S);

impl<S: Source> Service<S> {
    #[cached(cache = self.0.cache(), key = "length:{id}")]
    async fn length(&self, id: u8) -> Result<usize, BoxError> {
        Ok(self.0.label(id).await?.len())
    }
}

#[tokio::test]
async fn methods_of_traits_and_of_generic_types_are_cached() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    assert_eq!(Country::load(&cache, "7").await.unwrap(), Country { r#type: 7 });
    let countries = Countries(cache.clone(), "first");
    assert_eq!(countries.row(3).await.unwrap(), Country { r#type: 3 });
    assert_eq!(Service(countries).length(3).await.unwrap(), "first 3".len());
    let others = Countries(cache.clone(), "others");
    assert_eq!(others.label(3).await.unwrap(), "first 3");
    assert_eq!(others.row(3).await.unwrap(), Country { r#type: 3 });
    for key in ["country:7", "row:first/3", "row:others/3", "label:3", "length:3"] {
        assert!(cache.get(key).await.unwrap().value.is_some(), "{key}");
    }
}

/// Take arguments with the names that the expansion uses.
#[cached(cache = cache, key = "names:{view}/{key}/{out}/{value}", skip(cache, typed))]
async fn names(
    cache: &Cache,
    view: u8,
    key: &str,
    out: impl CacheKey,
    value: u8,
    mut typed: u8,
) -> Result<u8, BoxError> {
    let error = view + value;
    typed += key.parse::<u8>()?;
    Ok(typed + error)
}

#[cached(cache = cache, key = "raw:{type}/{country.type}", skip(cache, r#async))]
async fn raw(cache: &Cache, r#type: u8, country: Country, r#async: u8) -> Result<u8, BoxError> {
    Ok(r#type + country.r#type + r#async)
}

/// Return a value from braces of which the compiler would warn.
#[rustfmt::skip]
#[cached(cache = cache, key = "short:{id}", skip(cache))]
async fn short(cache: &Cache, id: u8) -> Result<u8, BoxError> { Ok(id) }

#[cached(cache = cache, key = "constant:{N}/{bytes}", skip(cache))]
async fn constant<const N: u8, const M: usize>(
    cache: &Cache,
    bytes: [u8; M],
) -> Result<Vec<u8>, BoxError> {
    Ok(bytes.iter().map(|byte| byte + N).collect())
}

#[tokio::test]
async fn arguments_of_each_form_are_parts_of_the_key() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    assert_eq!(names(&cache, 1, "2", (3_u8, "x"), 4, 5).await.unwrap(), 12);
    assert_eq!(raw(&cache, 1, Country { r#type: 2 }, 3).await.unwrap(), 6);
    assert_eq!(constant::<1, 1>(&cache, *b"a").await.unwrap(), b"b");
    assert_eq!(constant::<2, 1>(&cache, *b"a").await.unwrap(), b"c");
    assert_eq!(constant::<1, 2>(&cache, *b"ab").await.unwrap(), b"bc");
    assert_eq!(short(&cache, 1).await.unwrap(), 1);
    for key in ["names:1/2/3/x/4", "raw:1/2", "constant:1/a", "constant:2/a", "constant:1/ab"] {
        assert!(cache.get(key).await.unwrap().value.is_some(), "{key}");
    }
}

/// A codec of one byte.
struct Byte;

impl Codec<u8> for Byte {
    fn name(&self) -> Cow<'static, str> {
        "byte".into()
    }

    fn encode(&self, value: &u8, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.push(*value);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u8, CodecError> {
        bytes.first().copied().ok_or_else(|| CodecError::new("no byte"))
    }
}

#[cached(cache = cache, key = "coded:{id}", codec = codec, skip(cache, codec))]
async fn coded<C: Codec<u8>>(cache: &Cache, codec: C, id: u8) -> Result<u8, BoxError> {
    Ok(id)
}

#[tokio::test]
async fn a_second_type_of_codec_is_an_error_that_names_the_function() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    assert_eq!(coded(&cache, Json, 1).await.unwrap(), 1);
    let error = coded(&cache, Byte, 1).await.unwrap_err().to_string();
    assert!(error.contains("calls of `cached_forms::coded` have codecs"), "{error}");
    assert!(error.contains("write one function with `cached` per codec"), "{error}");
    assert_eq!(coded(&cache, Json, 2).await.unwrap(), 2);
}
