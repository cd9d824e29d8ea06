//! The transcripts of the user's page, typed as they stand there: waiting, both updates of a service, both of the chain, version
//! matching, debugging.
//!
//! One cluster runs them all in the order of the page, each starting from what the one before left. Where the page types a change
//! that starts from the interface `app-iface`, the test first goes back to it. The page renames an interface of a service; while it
//! does, no port of the chain names that interface, because a port that leads nowhere is refused.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

use anyhow::{Context, ensure};
use dpf_tests::journal::Journal;
use dpf_tests::{Demo, eventually, has_kubectl};
use serde_json::{Value, json};

const NAMESPACE: &str = "customer-namespace";
const NAME: &str = "producer-consumer";
const OWNER: &str = "customer-namespace_producer-consumer";
const SVC: &str = "svc.dpu.nvidia.com";
const PROVISIONING: &str = "provisioning.dpu.nvidia.com";
const SERVICE_VERSION: &str = "svc.dpu.nvidia.com/dpuservice-version";
const CHAIN_VERSION: &str = "svc.dpu.nvidia.com/dpuservicechain-version";
/// The page's change of an interface.
const RENAME: &str =
    r#"[{"op": "replace", "path": "/spec/interfaces/0/name", "value":"app-iface2"}]"#;
/// The page's change of the chain.
const REWIRE: &str = r#"[{"op": "replace", "path": "/spec/serviceChains/switches/0/ports/1/service/interface", "value":"app-iface2"}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_transcript_does_what_the_page_says() {
    if !has_kubectl() {
        return;
    }
    let demo = Demo::start(&["examples/producer-consumer"]).await.unwrap();
    let page = Page { demo };
    if let Err(error) = page.all().await {
        panic!("{error:#}\n{}", page.demo.log());
    }
}

struct Page {
    demo: Demo,
}

impl Page {
    async fn all(&self) -> anyhow::Result<()> {
        self.waiting_for_ready()
            .await
            .context("waiting for Ready")?;
        self.created_objects().await.context("created objects")?;
        self.non_disruptive_service_update()
            .await
            .context("non-disruptive DPUService update")?;
        self.disruptive_service_update()
            .await
            .context("disruptive DPUService update")?;
        self.a_port_follows_its_interface()
            .await
            .context("a port of the chain")?;
        self.non_disruptive_chain_update()
            .await
            .context("non-disruptive DPUServiceChain update")?;
        self.disruptive_chain_update()
            .await
            .context("disruptive DPUServiceChain update")?;
        self.version_matching().await.context("version matching")?;
        self.debugging().await.context("debugging")
    }

    async fn waiting_for_ready(&self) -> anyhow::Result<()> {
        eventually("the deployment was applied", || async {
            self.get("dpudeployment", NAME).await.map(|_| ())
        })
        .await?;
        let said = self
            .kubectl(&[
                "wait",
                "--for=condition=Ready",
                "dpudeployment/producer-consumer",
                "--timeout=180s",
            ])
            .await?;
        ensure!(said.contains("condition met"), "{said}");
        self.rolled_out().await
    }

    async fn created_objects(&self) -> anyhow::Result<()> {
        let all = self
            .demo
            .kubectl_ok(&["get", "dpuset", "-A"])
            .await
            .map(|text| Table::parse(&text))?;
        ensure!(all.header == ["NAMESPACE", "NAME", "AGE"], "{all:?}");
        ensure!(
            all.column("NAMESPACE") == [NAMESPACE, NAMESPACE]
                && all.column("NAME") == ["producer-consumer-dpuset1", "producer-consumer-dpuset2"],
            "{all:?}"
        );
        let sets = self.table("dpuset").await?;
        ensure!(
            sets.header == ["NAME", "AGE"] && sets.rows.len() == 2,
            "{sets:?}"
        );
        let interfaces = self.table("dpuserviceinterface").await?;
        interfaces.all_ready(&["consumer-app-iface-", "producer-app-iface-"])?;
        ensure!(
            interfaces.column("IFTYPE") == ["service", "service"]
                && interfaces.column("IFNAME") == ["app-iface", "app-iface"],
            "{interfaces:?}"
        );
        let chains = self.table("dpuservicechain").await?;
        chains.all_ready(&["producer-consumer-"])?;
        let services = self.table("dpuservice").await?;
        services.all_ready(&["consumer-", "producer-"])
    }

    async fn non_disruptive_service_update(&self) -> anyhow::Result<()> {
        self.configuration_of_the_page().await?;
        // The page's default is disruptive; a chain that may disturb would disturb with the service.
        self.may_disturb("dpuserviceconfiguration", "producer", "/spec", false)
            .await?;
        self.may_disturb("dpudeployment", NAME, "/spec/serviceChains", false)
            .await?;
        // The page renames an interface that no port names. A port that did would have to follow; see below.
        let port = r#"[{"op": "remove", "path": "/spec/serviceChains/switches/0/ports/0"}]"#;
        self.patch("dpudeployment", NAME, port).await?;
        self.rolled_out().await?;
        let before = self.service("producer").await?;
        let chain_before = self.chain().await?;
        let consumer_before = self.service("consumer").await?;
        let effects = self.journal(PROVISIONING, "DPUNodeMaintenance", "").await?;

        self.patch("dpuserviceconfiguration", "producer", RENAME)
            .await?;
        self.rolled_out().await?;

        let after = self.service("producer").await?;
        ensure!(
            identity(&after) == identity(&before),
            "the service keeps its name: {before:#}\n{after:#}"
        );
        self.looks_like_the_page(&after, "producer", "producer-app-iface2-")
            .await?;
        ensure!(
            digest(&after, SERVICE_VERSION)? != digest(&before, SERVICE_VERSION)?,
            "the version did not change: {after:#}"
        );
        eventually("only the new interface is left", || async {
            let interfaces = self.table("dpuserviceinterface").await?;
            interfaces.all_ready(&["consumer-app-iface-", "producer-app-iface2-"])
        })
        .await?;
        let chain = self.chain().await?;
        ensure!(chain == chain_before, "the chain was touched: {chain:#}");
        ensure!(
            self.service("consumer").await?["metadata"]["generation"]
                == consumer_before["metadata"]["generation"],
            "the other service was written"
        );
        let disturbed = effects.names_added()?;
        ensure!(disturbed.is_empty(), "nodes were disturbed: {disturbed:?}");
        self.back_to_the_first_interface().await?;
        self.rolled_out().await
    }

    async fn disruptive_service_update(&self) -> anyhow::Result<()> {
        self.configuration_of_the_page().await?;
        let before = self.service("producer").await?;
        let interface_before = name(&self.interface("producer").await?);
        let services = self.journal(SVC, "DPUService", NAMESPACE).await?;
        let effects = self.journal(PROVISIONING, "DPUNodeMaintenance", "").await?;

        self.may_disturb("dpuserviceconfiguration", "producer", "/spec", true)
            .await?;
        self.patch("dpuserviceconfiguration", "producer", RENAME)
            .await?;
        self.rolled_out().await?;

        let after = eventually("the old service is gone", || self.service("producer")).await?;
        let (old, new) = (name(&before), name(&after));
        ensure!(old != new, "a new version has a new name: {new}");
        self.looks_like_the_page(&after, "producer", "producer-app-iface2-")
            .await?;
        services.replaced(&old, &new).await?;
        ensure!(
            !effects.names_added()?.is_empty(),
            "no node effect was applied"
        );
        eventually("the stale interface is gone", || async {
            let interfaces = self.table("dpuserviceinterface").await?;
            ensure!(
                !interfaces.column("NAME").contains(&interface_before),
                "{interfaces:?}"
            );
            interfaces.all_ready(&["consumer-app-iface-", "producer-app-iface2-"])
        })
        .await?;
        self.back_to_the_first_interface().await?;
        self.rolled_out().await?;
        let port = r#"[{"op": "add", "path": "/spec/serviceChains/switches/0/ports/0",
            "value": {"service": {"name": "producer", "interface": "app-iface"}}}]"#;
        self.patch("dpudeployment", NAME, port).await?;
        self.rolled_out().await
    }

    /// Where a port of the chain names the interface, nothing is touched until the port follows, and then the chain goes with the
    /// service.
    async fn a_port_follows_its_interface(&self) -> anyhow::Result<()> {
        let before = self.service("producer").await?;
        let chain_before = self.chain().await?;
        let chains = self.journal(SVC, "DPUServiceChain", NAMESPACE).await?;
        self.may_disturb("dpuserviceconfiguration", "producer", "/spec", true)
            .await?;
        self.patch("dpuserviceconfiguration", "producer", RENAME)
            .await?;
        self.the_chain_port_has_to_follow(&before).await?;
        self.port_of_producer("app-iface2").await?;
        self.rolled_out().await?;
        let after = eventually("the old service is gone", || self.service("producer")).await?;
        ensure!(name(&before) != name(&after), "{after:#}");
        let chain = eventually("one chain is left", || self.chain()).await?;
        chains.replaced(&name(&chain_before), &name(&chain)).await?;
        self.port_is(&chain, 0, &after, "app-iface2")?;
        self.back_to_the_first_interface().await?;
        self.port_of_producer("app-iface").await?;
        self.rolled_out().await
    }

    async fn non_disruptive_chain_update(&self) -> anyhow::Result<()> {
        self.has_an_interface_to_choose().await?;
        let deployments = self.table("dpudeployment").await?;
        deployments.all_ready(&[NAME])?;
        let before = self.chain().await?;
        let consumer = self.service("consumer").await?;
        let effects = self.journal(PROVISIONING, "DPUNodeMaintenance", "").await?;

        self.patch("dpudeployment", NAME, REWIRE).await?;
        self.rolled_out().await?;

        let after = self.chain().await?;
        ensure!(
            identity(&after) == identity(&before),
            "the chain keeps its name: {after:#}"
        );
        ensure!(
            digest(&after, CHAIN_VERSION)? != digest(&before, CHAIN_VERSION)?,
            "the version did not change: {after:#}"
        );
        ensure!(
            after["metadata"]["labels"]["svc.dpu.nvidia.com/owned-by-dpudeployment"] == OWNER
                && after["metadata"]["finalizers"]
                    .as_array()
                    .is_some_and(|f| f.contains(&json!("svc.dpu.nvidia.com/dpuservicechain"))),
            "{after:#}"
        );
        self.port_is(&after, 0, &self.service("producer").await?, "app-iface")?;
        self.port_is(&after, 1, &consumer, "app-iface2")?;
        let disturbed = effects.names_added()?;
        ensure!(disturbed.is_empty(), "nodes were disturbed: {disturbed:?}");
        // Back, for the next transcript.
        self.patch(
            "dpudeployment",
            NAME,
            &REWIRE.replace("app-iface2", "app-iface"),
        )
        .await?;
        self.rolled_out().await
    }

    async fn disruptive_chain_update(&self) -> anyhow::Result<()> {
        self.table("dpudeployment").await?.all_ready(&[NAME])?;
        let before = self.chain().await?;
        let services_before = self.table("dpuservice").await?.column("NAME");
        let chains = self.journal(SVC, "DPUServiceChain", NAMESPACE).await?;
        let effects = self.journal(PROVISIONING, "DPUNodeMaintenance", "").await?;

        self.may_disturb("dpudeployment", NAME, "/spec/serviceChains", true)
            .await?;
        self.patch("dpudeployment", NAME, REWIRE).await?;
        self.rolled_out().await?;

        let after = eventually("the old chain is gone", || self.chain()).await?;
        let (old, new) = (name(&before), name(&after));
        ensure!(old != new, "a new version has a new name: {new}");
        chains.replaced(&old, &new).await?;
        ensure!(
            !effects.names_added()?.is_empty(),
            "no node effect was applied"
        );
        self.port_is(&after, 1, &self.service("consumer").await?, "app-iface2")?;
        let services = self.table("dpuservice").await?.column("NAME");
        ensure!(
            services == services_before,
            "the services are not touched: {services:?}"
        );
        Ok(())
    }

    async fn version_matching(&self) -> anyhow::Result<()> {
        let annotate = async |value: &str| {
            let arguments = [
                "annotate",
                "--overwrite",
                "dpuservicetemplate",
                "producer",
                value,
            ];
            self.kubectl(&arguments).await
        };
        annotate("dpu.nvidia.com/doca-version=>= 3.0").await?;
        let condition = eventually("the mismatch is reported", || async {
            let deployment = self.get("dpudeployment", NAME).await?;
            let condition = condition(&deployment, "VersionMatchingReady")?;
            ensure!(condition["status"] == "False", "{condition}");
            ensure!(
                condition["observedGeneration"] == deployment["metadata"]["generation"],
                "{condition}"
            );
            Ok(condition)
        })
        .await?;
        ensure!(condition["reason"] == "Error", "{condition}");
        let message = "Error occurred: version constraint for 'dpu.nvidia.com/doca-version' found in DPUServiceTemplate \
                       'producer' is not satisfied by the version '2.9.0' found in the given BFB";
        ensure!(condition["message"] == message, "{condition}");
        annotate("dpu.nvidia.com/doca-version-").await?;
        eventually("the deployment is Ready again", || async {
            self.table("dpudeployment").await?.all_ready(&[NAME])
        })
        .await
    }

    async fn debugging(&self) -> anyhow::Result<()> {
        let config = json!({
            "apiVersion": "operator.dpu.nvidia.com/v1alpha1", "kind": "DPFOperatorConfig",
            "metadata": {"name": "dpfoperatorconfig", "namespace": "dpf-operator-system"}, "spec": {},
        });
        self.demo.apply(&[config]).await?;
        let output = self.demo.dpfctl(&["describe", "dpudeployments"]).await?;
        ensure!(output.status.success(), "{output:?}");
        let tree = String::from_utf8_lossy(&output.stdout).into_owned();
        let header: Vec<&str> = tree
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        ensure!(
            header == ["NAME", "NAMESPACE", "STATUS", "REASON", "SINCE", "MESSAGE"],
            "{tree}"
        );
        for row in [
            "DPFOperatorConfig/dpfoperatorconfig  dpf-operator-system",
            "└─DPUDeployments",
            "└─DPUDeployment/producer-consumer  customer-namespace  Ready: True  Success",
            "├─DPUServiceChains",
            "│ └─DPUServiceChain/producer-consumer-",
            "├─DPUSets",
            "│ ├─DPUSet/producer-consumer-dpuset1",
            "BFB/bfb-2.9",
            "File: bf-bundle-2.9.0-33_24.04_ubuntu-22.04_unsigned.bfb, DOCA: 2.9.0",
            "2 DPUs... customer-namespace Ready: True DPUReady",
            "└─Services",
            "  ├─DPUServiceTemplates",
            "  │ └─2 DPUServiceTemplates...",
            "See consumer, producer",
            "  └─DPUServices",
            "    └─2 DPUServices... customer-namespace Ready: True Success",
        ] {
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let found = tree
                .lines()
                .any(|line| squeezed(line).contains(&squeezed(row)));
            ensure!(found, "no {row:?} in\n{tree}");
        }
        Ok(())
    }
}

/// Steps and checks that several transcripts share.
impl Page {
    /// Steps 1 and 2 of both service updates.
    async fn configuration_of_the_page(&self) -> anyhow::Result<()> {
        let configurations = self.table("dpuserviceconfiguration").await?;
        ensure!(
            configurations.header == ["NAME", "AGE"]
                && configurations
                    .column("NAME")
                    .contains(&"producer".to_owned()),
            "{configurations:?}"
        );
        let yaml = self
            .kubectl(&["get", "dpuserviceconfiguration", "producer", "-o", "yaml"])
            .await?;
        let configuration: Value = serde_saphyr::from_str(&yaml)?;
        let spec = &configuration["spec"];
        ensure!(
            spec["deploymentServiceName"] == "producer"
                && spec["interfaces"] == json!([{"name": "app-iface", "network": "mynad"}])
                && spec["serviceConfiguration"]["serviceDaemonSet"]
                    == json!({"labels": {"sre.nvidia.com/service-tier": "t1"},
                              "annotations": {"sre.nvidia.com/page": "false"}}),
            "{yaml}"
        );
        Ok(())
    }

    /// The page's `upgradePolicy.applyNodeEffect`.
    async fn may_disturb(
        &self,
        kind: &str,
        name: &str,
        at: &str,
        value: bool,
    ) -> anyhow::Result<()> {
        let operations = format!(
            r#"[{{"op": "add", "path": "{at}/upgradePolicy/applyNodeEffect", "value": {value} }}]"#
        );
        self.patch(kind, name, &operations).await
    }

    /// Between the new name of an interface and the change of the port, the condition names the port and nothing is touched.
    async fn the_chain_port_has_to_follow(&self, before: &Value) -> anyhow::Result<()> {
        eventually("the port without interface is reported", || async {
            let deployment = self.get("dpudeployment", NAME).await?;
            let condition = condition(&deployment, "DPUServiceChainsReconciled")?;
            let message = condition["message"].as_str().unwrap_or_default();
            ensure!(
                condition["status"] == "False"
                    && message.contains("switches[0].ports[0].service.interface")
                    && message.contains("app-iface2"),
                "{condition}"
            );
            Ok(())
        })
        .await?;
        let now = self.service("producer").await?;
        ensure!(
            now["metadata"]["generation"] == before["metadata"]["generation"],
            "the service was touched: {now:#}"
        );
        Ok(())
    }

    async fn port_of_producer(&self, interface: &str) -> anyhow::Result<()> {
        let operations = REWIRE
            .replace("ports/1", "ports/0")
            .replace("app-iface2", interface);
        self.patch("dpudeployment", NAME, &operations).await
    }

    async fn back_to_the_first_interface(&self) -> anyhow::Result<()> {
        self.may_disturb("dpuserviceconfiguration", "producer", "/spec", false)
            .await?;
        let operations = RENAME.replace("app-iface2", "app-iface");
        self.patch("dpuserviceconfiguration", "producer", &operations)
            .await
    }

    /// The page lets the port of the consumer name `app-iface2`; here the consumer gets it, without disturbing anyone.
    async fn has_an_interface_to_choose(&self) -> anyhow::Result<()> {
        self.may_disturb("dpuserviceconfiguration", "consumer", "/spec", false)
            .await?;
        let operations = r#"[{"op": "add", "path": "/spec/interfaces/-", "value": {"name": "app-iface2", "network": "mynad"}}]"#;
        self.patch("dpuserviceconfiguration", "consumer", operations)
            .await?;
        self.rolled_out().await
    }

    /// What the page shows of a DPUService: digest, finalizer, owner, serviceID, interfaces.
    async fn looks_like_the_page(
        &self,
        service: &Value,
        key: &str,
        interface: &str,
    ) -> anyhow::Result<()> {
        let metadata = &service["metadata"];
        let digest = digest(service, SERVICE_VERSION)?;
        ensure!(
            metadata["labels"]["svc.dpu.nvidia.com/owned-by-dpudeployment"] == OWNER,
            "{service:#}"
        );
        ensure!(
            metadata["finalizers"]
                .as_array()
                .is_some_and(|f| f.contains(&json!("dpu.nvidia.com/dpuservice"))),
            "{service:#}"
        );
        ensure!(
            service["spec"]["serviceID"] == format!("{NAME}_{key}_{digest}"),
            "{service:#}"
        );
        let names = service["spec"]["interfaces"]
            .as_array()
            .context("no interfaces")?;
        let [only] = names.as_slice() else {
            anyhow::bail!("one interface: {names:?}");
        };
        let only = only.as_str().unwrap_or_default();
        ensure!(generated(only, interface), "{only}");
        self.get("dpuserviceinterface", only).await.map(|_| ())
    }

    fn port_is(
        &self,
        chain: &Value,
        port: usize,
        service: &Value,
        interface: &str,
    ) -> anyhow::Result<()> {
        let labels = &chain["spec"]["template"]["spec"]["template"]["spec"]["switches"][0]["ports"]
            [port]["serviceInterface"]["matchLabels"];
        let expected = json!({"svc.dpu.nvidia.com/service": service["spec"]["serviceID"],
                              "svc.dpu.nvidia.com/interface": interface});
        ensure!(
            *labels == expected,
            "port {port} is {labels}, not {expected}"
        );
        Ok(())
    }

    /// The only live DPUService of a service.
    async fn service(&self, key: &str) -> anyhow::Result<Value> {
        self.only(
            "dpuservices",
            &format!("svc.dpu.nvidia.com/dpudeployment-service={key}"),
        )
        .await
    }

    async fn interface(&self, key: &str) -> anyhow::Result<Value> {
        self.only(
            "dpuserviceinterfaces",
            &format!("svc.dpu.nvidia.com/dpudeployment-service={key}"),
        )
        .await
    }

    async fn chain(&self) -> anyhow::Result<Value> {
        let owner = format!("svc.dpu.nvidia.com/owned-by-dpudeployment={OWNER}");
        self.only("dpuservicechains", &owner).await
    }

    async fn only(&self, kind: &str, selector: &str) -> anyhow::Result<Value> {
        let text = self
            .kubectl(&["get", kind, "-l", selector, "-o", "json"])
            .await?;
        let list: Value = serde_json::from_str(&text)?;
        let items = list["items"].as_array().context("no items")?;
        let [only] = items.as_slice() else {
            let names: Vec<_> = items.iter().map(name).collect();
            anyhow::bail!("one of {kind} with {selector}: {names:?}");
        };
        Ok(only.clone())
    }

    async fn get(&self, kind: &str, name: &str) -> anyhow::Result<Value> {
        let text = self.kubectl(&["get", kind, name, "-o", "json"]).await?;
        Ok(serde_json::from_str(&text)?)
    }

    async fn table(&self, kind: &str) -> anyhow::Result<Table> {
        Ok(Table::parse(&self.kubectl(&["get", kind]).await?))
    }

    async fn patch(&self, kind: &str, name: &str, operations: &str) -> anyhow::Result<()> {
        let operations = format!("-p={operations}");
        self.kubectl(&["patch", kind, name, "--type=json", &operations])
            .await
            .map(|_| ())
    }

    /// kubectl in the namespace of the page.
    async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = arguments.to_vec();
        all.extend(["-n", NAMESPACE]);
        self.demo.kubectl_ok(&all).await
    }

    /// Everything applied so far is rolled out.
    async fn rolled_out(&self) -> anyhow::Result<()> {
        self.demo.rolled_out(NAME, NAMESPACE).await
    }

    async fn journal(&self, group: &str, kind: &str, namespace: &str) -> anyhow::Result<Journal> {
        Journal::start(&self.demo.client().await?, group, kind, namespace).await
    }
}

fn name(object: &Value) -> String {
    object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn identity(object: &Value) -> (&Value, &Value) {
    (&object["metadata"]["name"], &object["metadata"]["uid"])
}

/// The ten digits of a version annotation.
fn digest(object: &Value, annotation: &str) -> anyhow::Result<String> {
    let digest = object["metadata"]["annotations"][annotation]
        .as_str()
        .with_context(|| format!("no annotation {annotation}: {object:#}"))?;
    ensure!(
        digest.len() == 10 && digest.bytes().all(|b| b.is_ascii_hexdigit()),
        "{digest}"
    );
    Ok(digest.to_owned())
}

fn condition(deployment: &Value, type_: &str) -> anyhow::Result<Value> {
    let conditions = deployment["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|c| c["type"] == type_);
    found
        .cloned()
        .with_context(|| format!("no condition {type_}"))
}

/// Whether the name is this prefix and five generated characters.
fn generated(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == 5 && !rest.contains('-'))
}

/// What `kubectl get` prints.
#[derive(Debug)]
struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn parse(text: &str) -> Self {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        let mut lines = text.lines();
        Self {
            header: lines.next().map(words).unwrap_or_default(),
            rows: lines.map(words).collect(),
        }
    }

    fn column(&self, title: &str) -> Vec<String> {
        let index = self.header.iter().position(|word| word == title);
        let cells = self.rows.iter().filter_map(|row| row.get(index?));
        cells.cloned().collect()
    }

    /// One row per name or prefix of a generated name, in this order, all of them ready.
    fn all_ready(&self, names: &[&str]) -> anyhow::Result<()> {
        let found = self.column("NAME");
        let fits = |(found, wanted): (&String, &&str)| found == wanted || generated(found, wanted);
        ensure!(
            found.len() == names.len() && found.iter().zip(names).all(fits),
            "expected {names:?}: {self:?}"
        );
        ensure!(
            self.column("READY").iter().all(|ready| ready == "True")
                && self.column("PHASE").iter().all(|phase| phase == "Success"),
            "not all ready: {self:?}"
        );
        Ok(())
    }
}
