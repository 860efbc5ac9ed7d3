#!/bin/bash
# clouds.sh start|stop   two clouds to ask, both with TLS by $RUN/clouds/c.pem: AWS' STS and EC2 (moto, which checks signatures and policies) on $CLOUDS_PORT,
# vCenter (govmomi's simulator, from Debian's sources) on $CLOUDS_PORT+1. Who may ask is in $RUN/clouds/env. Both know $SERVERS_NET.12 (running) and .13 (stopped)
. "$(dirname "$0")/lib.sh"
CLOUDS_PORT=${CLOUDS_PORT:-19600}; SERVERS_NET=${SERVERS_NET:-10.77.0}; VCSIM=${VCSIM:-$RIG/vcsim}; D=$RUN/clouds
build_vcsim() { [ -x "$VCSIM/vcsim" ] && return 0
  apt_get golang-go golang-github-vmware-govmomi-dev; mkdir -p "$VCSIM"
  cat >"$VCSIM/main.go" <<'G'
package main

import (
	"crypto/tls"
	"net/url"
	"os"
	"sort"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// vcsim LISTEN CERTIFICATE KEY PASSWORD NET: an inventory whose machines have the addresses NET.12 and up
func main() {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	model := simulator.VPX()
	model.Machine = 3
	must(model.Create())
	all := simulator.Map.All("VirtualMachine")
	sort.Slice(all, func(a, b int) bool { return all[a].Reference().Value < all[b].Reference().Value })
	for i, last := range []string{"12", "13", "14"} {
		vm, ip := all[i].(*simulator.VirtualMachine), os.Args[5]+"."+last
		vm.Guest.IpAddress, vm.Guest.HostName = ip, "server-"+last+".rig.test"
		vm.Guest.Net = []types.GuestNicInfo{{Network: "VM Network", IpAddress: []string{ip, "2001:db8::" + last}, Connected: true}}
	}
	all[1].(*simulator.VirtualMachine).Runtime.PowerState = types.VirtualMachinePowerStatePoweredOff
	certificate, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	must(err)
	model.Service.Listen = &url.URL{Host: os.Args[1], User: url.UserPassword("migrator@rig.test", os.Args[4])}
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	model.Service.NewServer()
	select {}
}
G
  (cd "$VCSIM" && GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$VCSIM/cache go build -o vcsim.new . && mv vcsim.new vcsim && rm -rf cache); }
case ${1:-start} in
 start) [ -d "$VENV"/lib/python3*/site-packages/moto-5.2.5.dist-info ] || pip_get 'moto[ec2,server]==5.2.5'
  build_vcsim; mkdir -p "$D"
  [ -s "$D/c.pem" ] || openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext basicConstraints=critical,CA:FALSE \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$D/k.pem" -out "$D/c.pem" 2>/dev/null
  spawn vcsim "$VCSIM/vcsim" "127.0.0.1:$((CLOUDS_PORT+1))" "$D/c.pem" "$D/k.pem" rigpw "$SERVERS_NET"; wait_tcp $((CLOUDS_PORT+1))
  alive "$RUN/moto.pid" && exit 0
  # Nobody is known at first; the furnisher makes users, and from then on every call is checked.
  spawn moto "$VENV/bin/moto_server" -H 127.0.0.1 -p "$CLOUDS_PORT" -c "$D/c.pem" -k "$D/k.pem"; wait_tcp "$CLOUDS_PORT"
  cat >"$D/furnish.py" <<'P'
import json, os, ssl, sys, urllib.request
import boto3
endpoint, directory, net = sys.argv[1:4]
ca = directory + '/c.pem'
def client(name, region='eu-central-1'):
    return boto3.client(name, region_name=region, endpoint_url=endpoint, verify=ca, aws_access_key_id='furnisher', aws_secret_access_key='furnisher')
iam, sts, ec2 = client('iam'), client('sts'), client('ec2')

def user(name, *actions):
    iam.create_user(UserName=name)
    if actions:
        policy = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': list(actions), 'Resource': '*'}]}
        iam.put_user_policy(UserName=name, PolicyName='rig', PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)['AccessKey']
    return key['AccessKeyId'], key['SecretAccessKey']

keys = {'MIGRATOR': user('migrator', 'ec2:Describe*', 'sts:GetCallerIdentity'), 'NOBODY': user('nobody', 'sts:GetCallerIdentity')}
trust = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 'sts:AssumeRole', 'Principal': {'AWS': '*'}}]}
role = iam.create_role(RoleName='mover', AssumeRolePolicyDocument=json.dumps(trust))['Role']['Arn']
policy = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': ['ec2:Describe*', 'sts:GetCallerIdentity'], 'Resource': '*'}]}
iam.put_role_policy(RoleName='mover', PolicyName='rig', PolicyDocument=json.dumps(policy))
held = sts.assume_role(RoleArn=role, RoleSessionName='rig')['Credentials']
keys['MOVER'] = held['AccessKeyId'], held['SecretAccessKey'], held['SessionToken']

vpc = ec2.create_vpc(CidrBlock=net + '.0/24')['Vpc']['VpcId']
subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=net + '.0/24')['Subnet']['SubnetId']
image = ec2.describe_images()['Images'][0]['ImageId']
def machine(name, last):
    tags = [{'ResourceType': 'instance', 'Tags': [{'Key': 'Name', 'Value': name}]}]
    made = ec2.run_instances(ImageId=image, InstanceType='t3.micro', MinCount=1, MaxCount=1, SubnetId=subnet, PrivateIpAddress=f'{net}.{last}', TagSpecifications=tags)
    return made['Instances'][0]['InstanceId']
# More than one page before those that are asked for; a page is counted in reservations.
for _ in range(120):
    ec2.run_instances(ImageId=image, InstanceType='t3.micro', MinCount=1, MaxCount=1)
machine('target', 12)
ec2.stop_instances(InstanceIds=[machine('asleep', 13)])
ec2.terminate_instances(InstanceIds=[machine('gone', 14)])
second = machine('two-faces', 15)
nic = ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress=f'{net}.16')['NetworkInterface']['NetworkInterfaceId']
ec2.attach_network_interface(NetworkInterfaceId=nic, InstanceId=second, DeviceIndex=1)
target = ec2.describe_instances(Filters=[{'Name': 'tag:Name', 'Values': ['target']}])['Reservations'][0]['Instances'][0]['InstanceId']
ec2.associate_address(AllocationId=ec2.allocate_address(Domain='vpc')['AllocationId'], InstanceId=target)
public = ec2.describe_instances(Filters=[{'Name': 'tag:Name', 'Values': ['target']}])['Reservations'][0]['Instances'][0]

context = ssl.create_default_context(cafile=ca)
urllib.request.urlopen(urllib.request.Request(endpoint + '/moto-api/reset-auth', data=b'0', headers={'Content-Type': 'text/plain'}), context=context).read()
with open(directory + '/env.new', 'w') as out:
    for name, key in keys.items():
        for word, value in zip(('ID', 'SECRET', 'TOKEN'), key):
            print(f'{name}_{word}={value}', file=out)
    print('TARGET_PUBLIC=' + public.get('PublicIpAddress', ''), 'TARGET_DNS=' + public['PrivateDnsName'], 'TARGET_ID=' + public['InstanceId'], sep='\n', file=out)
os.rename(directory + '/env.new', directory + '/env')
P
  "$VENV/bin/python" "$D/furnish.py" "https://127.0.0.1:$CLOUDS_PORT" "$D" "$SERVERS_NET" || { stop moto; exit 1; };;
 stop) stop moto; stop vcsim;;
esac
