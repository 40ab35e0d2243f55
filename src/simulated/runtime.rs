//! Where simulated servers run: nowhere. It answers what a runtime is asked, and makes nothing.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::datastore::{EngineKind, RuntimeKind};
use crate::domain::ids::GenerationId;
use crate::runtimes::{
    Copied, CopyRules, DataFile, Error, Exit, HostVersion, Job, JobOutput, Layout, Limits, Observed, Runtime,
    Stream,
};

/// The runtime of simulated servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedRuntime;

/// What a simulated server is asked for and has not.
fn nothing<T>(engine: &'static str) -> Result<T, Error> {
    Err(Error::NoSuchVersion { engine, version: "simulated: no binaries".to_owned() })
}

#[async_trait]
impl Runtime for SimulatedRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Simulated
    }

    async fn versions(&self) -> Result<Vec<HostVersion>, Error> {
        Ok(super::offers()
            .into_iter()
            .map(|offer| HostVersion {
                engine: offer.engine.as_str(),
                series: offer.series,
                number: offer.number,
            })
            .collect())
    }

    fn layout(&self, _generation: GenerationId, engine: EngineKind, _version: &str) -> Result<Layout, Error> {
        nothing(engine.as_str())
    }

    async fn ensure_volume(&self, _generation: GenerationId, _account: Option<&str>) -> Result<(), Error> {
        Ok(())
    }

    async fn drop_volume(&self, _generation: GenerationId) -> Result<(), Error> {
        Ok(())
    }

    async fn write_config(&self, _generation: GenerationId, _name: &str, _text: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn run(&self, _generation: GenerationId, _layout: &Layout, _job: Job) -> Result<JobOutput, Error> {
        nothing("a program")
    }

    async fn pipe(
        &self,
        _from: (GenerationId, &Layout, Job),
        _to: (GenerationId, &Layout, Job),
        _tell: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(JobOutput, JobOutput), Error> {
        nothing("a program")
    }

    async fn ensure_server(
        &self,
        _generation: GenerationId,
        _layout: &Layout,
        _program: &str,
        _args: &[String],
        _limits: Limits,
    ) -> Result<(), Error> {
        nothing("a server")
    }

    async fn stop_server(
        &self,
        _generation: GenerationId,
        _patience: Duration,
        _force: bool,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn observe(&self, _generation: GenerationId) -> Result<Observed, Error> {
        Ok(Observed::Stopped)
    }

    async fn last_exit(&self, _generation: GenerationId) -> Result<Option<Exit>, Error> {
        Ok(None)
    }

    async fn log_end(&self, _generation: GenerationId, _bytes: u64) -> Result<String, Error> {
        Ok(String::new())
    }

    async fn engine_file(&self, _layout: &Layout, _path: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }

    async fn connect(&self, _generation: GenerationId, _layout: &Layout) -> Result<Box<dyn Stream>, Error> {
        nothing("a socket")
    }

    async fn connect_private(&self, _generation: GenerationId, _port: u16) -> Result<Box<dyn Stream>, Error> {
        nothing("an address")
    }

    async fn visitor(&self) -> Result<String, Error> {
        nothing("a socket")
    }

    async fn copy_ahead(
        &self,
        _from: GenerationId,
        _to: GenerationId,
        _rules: &CopyRules,
        _tell: &(dyn Fn(String) + Send + Sync),
    ) -> Result<u64, Error> {
        nothing("a folder")
    }

    async fn is_copied_ahead(&self, _generation: GenerationId) -> Result<bool, Error> {
        nothing("a folder")
    }

    async fn copy_data(
        &self,
        _from: GenerationId,
        _to: GenerationId,
        _rules: &CopyRules,
        _tell: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Copied, Error> {
        nothing("a folder")
    }

    async fn free_bytes(&self) -> Result<u64, Error> {
        Ok(u64::MAX)
    }

    async fn used_bytes(&self, _generation: GenerationId) -> Result<u64, Error> {
        Ok(0)
    }

    async fn taken_bytes(
        &self,
        _generation: GenerationId,
        _logs: &'static [&'static str],
    ) -> Result<(u64, u64), Error> {
        Ok((0, 0))
    }

    async fn data_file_end(
        &self,
        _generation: GenerationId,
        _name: &'static str,
        _most: usize,
    ) -> Result<Option<(Vec<u8>, u64)>, Error> {
        Ok(None)
    }

    async fn remove_data_file(&self, _generation: GenerationId, _name: &'static str) -> Result<(), Error> {
        Ok(())
    }

    async fn data_files(
        &self,
        _generation: GenerationId,
        _endings: &'static [&'static str],
    ) -> Result<Vec<DataFile>, Error> {
        Ok(Vec::new())
    }
}
