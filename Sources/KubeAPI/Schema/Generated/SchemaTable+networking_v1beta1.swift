// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// networking/v1beta1: 26 types.
    static var networking_v1beta1: StaticString {
#"""
HTTPIngressPath path:s:1:o pathType:=PathType:3:op backend:IngressBackend:2:r
HTTPIngressRuleValue paths:[HTTPIngressPath:1:rA
IPAddress ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:IPAddressSpec:2:ro
IPAddressList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[IPAddress:2:r
IPAddressSpec parentRef:ParentReference:1:rop
Ingress ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:IngressSpec:2:o status:IngressStatus:3:o
IngressBackend serviceName:s:1:o servicePort:x:2:o resource:core/v1.TypedLocalObjectReference:3:opX
IngressClass ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:IngressClassSpec:2:o
IngressClassList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[IngressClass:2:r
IngressClassParametersReference apiGroup:s:1:op kind:s:2:r name:s:3:r scope:s:4:rp namespace:s:5:op
IngressClassSpec controller:s:1:o parameters:IngressClassParametersReference:2:op
IngressList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Ingress:2:r
IngressLoadBalancerIngress ip:s:1:o hostname:s:2:o ports:[IngressPortStatus:4:oA
IngressLoadBalancerStatus ingress:[IngressLoadBalancerIngress:1:oA
IngressPortStatus port:i:1:r protocol:=core/v1.Protocol:2:r error:s:3:op
IngressRule host:s:1:o ^:IngressRuleValue:2:
IngressRuleValue http:HTTPIngressRuleValue:1:op
IngressSpec ingressClassName:s:4:op backend:IngressBackend:1:op tls:[IngressTLS:2:oA rules:[IngressRule:3:oA
IngressStatus loadBalancer:IngressLoadBalancerStatus:1:o
IngressTLS hosts:[s:1:oA secretName:s:2:o
ParentReference group:s:1:o resource:s:2:ro namespace:s:3:o name:s:4:ro
PathType =
ServiceCIDR ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ServiceCIDRSpec:2:o status:ServiceCIDRStatus:3:o
ServiceCIDRList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ServiceCIDR:2:r
ServiceCIDRSpec cidrs:[s:1:oA
ServiceCIDRStatus conditions:[meta/v1.Condition:1:oM+:k=type;g=type
"""#
    }
}
