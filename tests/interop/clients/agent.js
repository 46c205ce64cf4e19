// An agent on @elastic/opamp-client-node, for Node.js (plain HTTP only).
//
//     node agent.js URL NAME
//
// It takes every configuration but one with "nosuch" in it, which it refuses.  This client has no health, no
// effective configuration and no goodbye.  Standard output has one JSON object a line for what happens;
// standard input takes "stop".  It ends with its standard input.
'use strict';

const readline = require('readline');
const {createOpAMPClient, AgentCapabilities, RemoteConfigStatuses} = require('@elastic/opamp-client-node');

const [url, name] = process.argv.slice(2);
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const hex = (bytes) => Buffer.from(bytes).toString('hex');

const client = createOpAMPClient({
    endpoint: url,
    heartbeatIntervalSeconds: 0.5,
    capabilities: AgentCapabilities.AgentCapabilities_AcceptsRemoteConfig | AgentCapabilities.AgentCapabilities_ReportsRemoteConfig,
    log: {
        trace() {}, debug() {}, info() {}, warn() {},
        error: (what, words) => say({event: 'no connection', why: words}),
    },
    onMessage: ({remoteConfig}) => {
        if (!remoteConfig) return;
        const body = Buffer.from(remoteConfig.config.configMap[''].body).toString();
        say({event: 'offer', hash: hex(remoteConfig.configHash), body});
        const bad = body.includes('nosuch');
        client.setRemoteConfigStatus({
            lastRemoteConfigHash: remoteConfig.configHash,
            status: bad ? RemoteConfigStatuses.RemoteConfigStatuses_FAILED : RemoteConfigStatuses.RemoteConfigStatuses_APPLIED,
            errorMessage: bad ? 'there is nothing of the name nosuch' : '',
        });
    },
});
client.setAgentDescription({
    identifyingAttributes: {'service.name': name, 'service.version': '0.5.0'},
    nonIdentifyingAttributes: {'os.type': 'linux'},
});
client.start();
say({event: 'started', uid: hex(client.getInstanceUid())});

const input = readline.createInterface({input: process.stdin});
input.on('line', (line) => { if (line === 'stop') input.close(); });
input.on('close', async () => { await client.shutdown(); process.exit(0); });
