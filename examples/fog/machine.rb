# A machine by fog: made, looked at, removed. Run it in a shell of `stead env`.
require "fog/aws"
require "json"

compute = Fog::Compute.new(
  provider: "AWS",
  aws_access_key_id: ENV.fetch("AWS_ACCESS_KEY_ID"),
  aws_secret_access_key: ENV.fetch("AWS_SECRET_ACCESS_KEY"),
  region: ENV.fetch("AWS_DEFAULT_REGION"),
  endpoint: ENV.fetch("AWS_ENDPOINT_URL"),
  connection_options: ENV["AWS_CA_BUNDLE"] ? { ssl_ca_file: ENV["AWS_CA_BUNDLE"] } : {},
)

image = compute.describe_images("Owner" => "amazon").body["imagesSet"].last["imageId"]
machine = compute.servers.create(image_id: image, flavor_id: "t3.nano", tags: { "Name" => "fog" })
begin
  machine.wait_for { ready? }
  listed = compute.servers.all("tag:Name" => "fog").map(&:id)
  puts JSON.generate(machine: machine.id, listed: listed, state: machine.state)
ensure
  machine.destroy
end
