//! Log in to Amazon ElastiCache with IAM.
//!
//! ```text
//! REDIS_URL=rediss://NAME.serverless.REGION.cache.amazonaws.com USER_ID=… IAM_TOKEN=… \
//!     cargo run --features tls --example elasticache_iam
//! ```
//!
//! The user name is the id of the ElastiCache user. The password is a request to the service
//! `elasticache`, signed in advance with Signature Version 4, without its `http://`:
//! `NAME/?Action=connect&User=USER_ID` (for a serverless cache with
//! `&ResourceType=ServerlessCache`). It is valid for 15 minutes. The service ends a connection
//! after 12 hours unless the client has logged in again; the cache does so in time.
//!
//! A service signs with the crates `aws-config` and `aws-sigv4`:
//!
//! ```text
//! let mut settings = SigningSettings::default();
//! settings.signature_location = SignatureLocation::QueryParams;
//! settings.expires_in = Some(LIFETIME);
//! let params = v4::SigningParams::builder()
//!     .identity(&identity).region(region).name("elasticache").time(SystemTime::now())
//!     .settings(settings).build()?.into();
//! let url = format!("http://{cache}/?Action=connect&User={user_id}");
//! let request = SignableRequest::new("GET", &url, [].into_iter(), SignableBody::Bytes(&[]))?;
//! let (instructions, _) = sign(request, &params)?.into_parts();
//! let mut signed = http::Request::builder().uri(&url).body(())?;
//! instructions.apply_to_request_http1x(&mut signed);
//! let token = signed.uri().to_string().replacen("http://", "", 1);
//! ```

use std::env;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redcache_tokio::{BoxError, Config, Credentials, CredentialsProvider, LoginRequest};

/// The time for which a token can be used.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Provides IAM tokens, which `sign` creates. It caches one token for all nodes of a cluster.
struct ElastiCacheIam<F> {
    user_id: String,
    sign: F,
    kept: Mutex<Option<(String, Instant)>>,
}

impl<F> CredentialsProvider for ElastiCacheIam<F>
where
    F: Fn() -> Result<String, BoxError> + Send + Sync + 'static,
{
    async fn credentials(&self, login: LoginRequest) -> Result<Credentials, BoxError> {
        let mut kept = self.kept.lock().map_err(|_| "an earlier signature panicked")?;
        let is_fresh = |signed_at: &Instant| signed_at.elapsed() < LIFETIME / 2;
        let usable = kept.take_if(|(_, signed_at)| is_fresh(signed_at) && !login.was_refused());
        let (token, signed_at) = match usable {
            Some(usable) => usable,
            None => ((self.sign)()?, Instant::now()),
        };
        *kept = Some((token.clone(), signed_at));
        let left = LIFETIME.saturating_sub(signed_at.elapsed());
        Ok(Credentials::new(&self.user_id, token).expires_in(left))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let Ok(url) = env::var("REDIS_URL") else {
        eprintln!("set REDIS_URL, USER_ID and IAM_TOKEN");
        return Ok(());
    };
    let sign = || Ok(env::var("IAM_TOKEN")?);
    let provider = ElastiCacheIam { user_id: env::var("USER_ID")?, sign, kept: Mutex::new(None) };
    let config = Config::from_url(&url)?.into_builder().credentials_provider(provider);
    let cache = redcache_tokio::connect(config).await?;
    let greeting = cache
        .get_with("greeting", Duration::from_secs(60), async || Ok::<_, BoxError>("hello"))
        .await?;
    eprintln!("{:?}", greeting.value);
    cache.close().await;
    Ok(())
}
