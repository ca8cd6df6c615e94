//! Log in to Azure Managed Redis with tokens of Microsoft Entra ID.
//!
//! ```text
//! REDIS_URL=rediss://NAME.REGION.redis.azure.net:10000 OBJECT_ID=… ACCESS_TOKEN=$(az account \
//!     get-access-token --resource https://redis.azure.com --query accessToken -o tsv) \
//!     cargo run --features tls --example entra
//! ```
//!
//! The user name is the object id of the identity, and the password is a token for the scope
//! `https://redis.azure.com/.default`. A token lives for about an hour. The cache requests the next
//! one in time, and logs in with it on the same connection.
//!
//! A service gets its tokens from the crate `azure_identity`:
//!
//! ```text
//! let identity = ManagedIdentityCredential::new(None)?;
//! let fetch = move || {
//!     let identity = Arc::clone(&identity);
//!     async move {
//!         let token = identity.get_token(&["https://redis.azure.com/.default"], None).await?;
//!         let lifetime = token.expires_on - OffsetDateTime::now_utc();
//!         Ok(Token { secret: token.token.secret().to_owned(), lifetime: lifetime.unsigned_abs() })
//!     }
//! };
//! ```

use std::env;
use std::future::Future;
use std::time::Duration;

use redcache_tokio::{BoxError, Config, Credentials, CredentialsProvider, LoginRequest};

/// An access token.
struct Token {
    secret: String,
    /// The time until it expires.
    lifetime: Duration,
}

/// Provides tokens of Entra ID, which `fetch` requests.
struct Entra<F> {
    object_id: String,
    fetch: F,
}

impl<F, R> CredentialsProvider for Entra<F>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Token, BoxError>> + Send,
{
    async fn credentials(&self, _: LoginRequest) -> Result<Credentials, BoxError> {
        let token = (self.fetch)().await?;
        Ok(Credentials::new(&self.object_id, token.secret).expires_in(token.lifetime))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let Ok(url) = env::var("REDIS_URL") else {
        eprintln!("set REDIS_URL, OBJECT_ID and ACCESS_TOKEN");
        return Ok(());
    };
    let fetch = || async {
        let secret = env::var("ACCESS_TOKEN")?;
        Ok(Token { secret, lifetime: Duration::from_secs(3600) })
    };
    let provider = Entra { object_id: env::var("OBJECT_ID")?, fetch };
    let config = Config::from_url(&url)?.into_builder().credentials_provider(provider);
    let cache = redcache_tokio::connect(config).await?;
    let greeting = cache
        .get_with("greeting", Duration::from_secs(60), async || Ok::<_, BoxError>("hello"))
        .await?;
    eprintln!("{:?}", greeting.value);
    cache.close().await;
    Ok(())
}
