// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package template

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// registries are the accounts that publish the project's images, by region; most regions share one.
var registries = map[string]string{
	"af-south-1": "917644944286", "ap-east-1": "375569722642", "ap-south-2": "764716012617", "ap-southeast-3": "386774335080",
	"ap-southeast-4": "731751899352", "ap-southeast-5": "851725293737", "ca-west-1": "253897149516", "cn-north-1": "183470599484",
	"cn-northwest-1": "183901325759", "eu-central-2": "861738308508", "eu-isoe-west-1": "589460436674", "eu-south-1": "586180183710",
	"eu-south-2": "620625777247", "il-central-1": "288123944683", "me-central-1": "553577323255", "me-south-1": "509306038620",
	"us-gov-east-1": "388230364387", "us-gov-west-1": "347163068887",
}

const mostRegions = "328549459982"

// regionsOfMost share the account mostRegions. Any other region is served by the first.
var regionsOfMost = []string{
	"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2",
	"eu-west-3", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
}

// domain is where the services of a region are.
func domain(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "amazonaws.com.cn"
	case strings.HasPrefix(region, "eu-isoe-"):
		return "cloud.adc-e.uk"
	}
	return "amazonaws.com"
}

func ecrPrefix(region string) (string, error) {
	account, known := registries[region]
	if !known {
		account = mostRegions
		if !slices.Contains(regionsOfMost, region) {
			region = regionsOfMost[0]
		}
	}
	return account + ".dkr.ecr." + region + "." + domain(region), nil
}

// ownUpdates are hosts of update repositories in regions that do not reach the public one.
var ownUpdates = map[string]string{
	"cn-north-1":     "bottlerocket-updates-cn-north-1.s3.dualstack",
	"cn-northwest-1": "bottlerocket-updates-cn-northwest-1.s3.dualstack",
	"eu-isoe-west-1": "bottlerocket-updates-eu-isoe-west-1.s3",
}

func tufPrefix(region string) (string, error) {
	if bucket := ownUpdates[region]; bucket != "" {
		return "https://" + bucket + "." + region + "." + domain(region) + "/latest", nil
	}
	return "https://updates.bottlerocket.aws", nil
}

// metadataPrefix is the folder of metadata in repositories that keep it beside the images.
func metadataPrefix(region string) (string, error) {
	if ownUpdates[region] != "" {
		return "/metadata", nil
	}
	return "", nil
}

// joinNodeTaints writes taints as the kubelet's command line wants them: key=value:effect, separated by commas.
func joinNodeTaints(args []any) (any, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	if isNull(args[0]) {
		return "", nil
	}
	o, ok := args[0].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("value 1 must be an object")
	}
	var taints []string
	for key, v := range o {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, item := range list {
			s, err := text(item)
			if err != nil {
				return nil, err
			}
			taints = append(taints, key+"="+s)
		}
	}
	slices.Sort(taints)
	return strings.Join(taints, ","), nil
}

// kubeReserveMemory returns the setting if there is one, else what that many pods need: 255 MiB and 11 for each.
func kubeReserveMemory(args []any) (any, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if !isNull(args[1]) {
		return args[1], nil
	}
	s, err := text(args[0])
	if err != nil {
		return nil, err
	}
	pods, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("the number of pods must be a whole number")
	}
	return fmt.Sprintf("%dMi", pods*11+255), nil
}

// kubeReserveCPU returns the setting if there is one, else what this machine's number of CPUs calls for.
func kubeReserveCPU(args []any) (any, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	if !isNull(args[0]) {
		return args[0], nil
	}
	return reservedCPU(runtime.NumCPU()), nil
}

// reservedCPU is 6 % of a core, less of each further one.
func reservedCPU(cores int) string {
	steps := []int{60, 70, 75, 80}
	if cores <= len(steps) {
		return fmt.Sprintf("%dm", steps[max(cores, 1)-1])
	}
	return fmt.Sprintf("%dm", int(math.Floor(80+2.5*float64(cores-len(steps)))))
}

// ecsLimits writes requests per second and at once, separated by a comma.
func ecsLimits(args []any) (any, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	limits := [2]string{"40", "60"}
	for i := range limits {
		if isNull(args[i]) {
			continue
		}
		s, err := text(args[i])
		if err != nil {
			return nil, err
		}
		limits[i] = cmp.Or(s, limits[i])
	}
	return limits[0] + "," + limits[1], nil
}
